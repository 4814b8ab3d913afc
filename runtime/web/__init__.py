"""The web page: the fleet and each bot, live in a browser; `botvisor web` serves it.

One watcher reads the stores for all browsers. They are told by server-sent events, each as fast as it reads:
a slow one is shown the newest state and misses those between. Nothing here is needed to look at the page with
a browser; it is what the page itself asks for, and a script may:

``GET /api/1/fleet``
    ``{as_of, away, problem, version, reset, bots, gone}``. ``as_of`` is null while everything is fresh, else
    the time (seconds since the epoch) of the last complete look; ``away`` says why Redis is not used,
    ``problem`` why nothing was read at all. Each of ``bots`` has ``bot_id, host, pid, room_url, participants,
    participant_count, status, uptime_s, restarts, lag_ms, backend, last_seen_s, seen_at, note, as_of``.
``GET /api/1/fleet/events``
    The same as events named ``fleet``: the first one is complete (``reset`` is true), later ones have the
    bots that changed, and in ``gone`` the ids of those that are known no more.
``GET /api/1/bot?id=ID``
    ``{as_of, away, problem, bot, summary, facts, blocked, stacks, ledger, messages, messages_more,
    messages_problem, sent, history}``; ``bot`` is null when nobody knows it. ``history`` has columns ``at,
    lag_ms, restarts, rss_mb, depth`` of the last half hour; ``messages`` have ``id, state, queue, stored_at,
    tries, sender, text, reason``; ``sent`` are receipts of what was sent from here, the newest first.
``GET /api/1/bot/events?id=ID``
    The same as events named ``bot``, each complete.
``POST /api/1/messages``
    ``{bot_id, text, mode, durable}``, answered with 201 and a receipt: ``{id, bot_id, text, state, where,
    stored_ms, delivered_ms, handled_ms, sent_at, note}``; with 503 when no store took it.
``POST /api/1/control``
    ``{bot_id, command}``, a command of ``stop drain stack``, answered with 202 and ``{id}``.

An answer that is none is ``{error}``, in words. With a token a script sends ``Authorization: Bearer TOKEN``.
A POST must be ``application/json``, and come from the page's own origin or bear the token.
"""
