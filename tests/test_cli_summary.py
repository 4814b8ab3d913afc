"""What `botvisor why` says: sentences from a heartbeat, without any bot."""

import pytest

from botvisor.fleet.summary import Sighting, ledger, since_s, summary, where
from botvisor.heartbeat import Heartbeat
from botvisor.store import QueuedMessage

ENTRY = {
    "at": "2026-01-01T00:00:00Z", "actor": "ada/inbox", "error": "ValueError: bad", "message": "Look",
    "backoff_s": 0.5,
}  # fmt: skip
BLOCKED = {"file": "/srv/bot.py", "line": 7, "function": "main", "for_s": 2.0, "stack": "…"}
NOW = "2100-01-01T00:00:00Z"  # for `liveness.age_s`: never older than nothing


def sight(status, *, gone=None, messages=(), age_s=5.0, health=None, **fields):
    given = {"pid": 4711, "room_url": "", "participants": (), "timestamp": NOW, "host": "h", **fields}
    beat = Heartbeat(bot_id="ada", status=status, health=health or {}, **given)
    return Sighting(heartbeat=beat, status=status, age_s=age_s, gone=gone, messages=messages, now=1000.0)


def test_a_healthy_bot():
    seen = sight(
        "healthy", health={"status_s": 55.0, "uptime_s": 115.0}, room_url="https://x/", participants=("a",)
    )
    assert since_s(seen) == 60
    assert summary(seen) == (
        "ada (process 4711 on h) is healthy, and has been for 1m00s. It has run for 2m00s, serves "
        "https://x/ and has 1 participant."
    )
    assert where(seen) is None


def test_a_blocked_bot_names_the_line():
    seen = sight("blocked", health={"blocked": BLOCKED})
    assert "has stood still for 2.0s at /srv/bot.py:7 in main." in summary(seen)
    assert where(seen) == {"file": "/srv/bot.py", "line": 7, "function": "main"}
    assert since_s(seen) == 2


def test_a_silent_bot_is_not_said_to_stand_anywhere():
    seen = sight("blocked", age_s=40)
    assert "has said nothing for 40s although its process lives" in summary(seen)
    assert (where(seen), since_s(seen)) == (None, 40)


def test_a_bot_that_was_blocked_and_is_not_any_more_has_no_place():
    assert where(sight("lost", health={"blocked": BLOCKED})) is None


@pytest.mark.parametrize(
    ("gone", "words"), [(True, "so it was killed"), (None, "on h still lives cannot be told")]
)
def test_a_lost_bot_with_what_is_left_of_its_ledger(gone, words):
    seen = sight("lost", gone=gone, health={"ledger": [ENTRY], "restarts": 2})
    assert "was last heard of 5.0s ago, and left no last words" in summary(seen)
    assert words in summary(seen)
    assert "were restarted 2 times" in summary(seen)
    assert "inbox on Look, ValueError: bad" in summary(seen)
    assert ledger(seen.heartbeat) == [ENTRY]


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        ("returned", "(SIGTERM): its main returned."),
        ("cancelled", "its main was cancelled"),
        ("ValueError: bad", "its main ended with ValueError: bad."),
        ("", "ago (SIGTERM)."),
    ],
)
def test_the_last_words_of_a_stopped_bot(ended, words):
    seen = sight("stopped", epitaph={"reason": "SIGTERM", "exit": ended, "ledger": [ENTRY]})
    assert words in summary(seen)
    assert ledger(seen.heartbeat) == [ENTRY]


def test_what_keeps_a_bot_from_running():
    seen = sight("degraded", health={"throttled_s": 12.3, "lag_ms": 250.0, "resting": ["ada/identity"]})
    assert "identity rests until it is tried again" in summary(seen)
    assert "lags by 250 ms" in summary(seen)
    assert "has kept it from running for 12s" in summary(seen)


def test_the_backend_since_when_and_why():
    store = {"since_s": 55.0, "reason": "Connection refused"}
    seen = sight("degraded", health={"backend": "file", "store": store})
    assert "on this host's files, and has for 1m00s, as Redis is away: Connection refused." in summary(seen)
    assert "on Redis." in summary(sight("healthy", health={"backend": "redis", "store": {}}))
    full = sight("degraded", health={"backend": "redis", "store": {"reason": "OOM: Redis is full"}})
    assert "on Redis, which takes no more: OOM: Redis is full." in summary(full)
    some = sight("healthy", health={"backend": "redis", "store": {"fallbacks": 3}})
    assert summary(some).endswith(
        "on Redis. Of its operations so far Redis did not take 3: this host's files did."
    )


def test_its_messages():
    def message(state, **fields):
        return QueuedMessage(raw=b"{}", name="m", state=state, **fields)

    seen = sight(
        "healthy",
        messages=[
            message("stored", stored_at=900.0),
            message("stored", stored_at=990.0),
            message("delivered", tries=2),
            message("dead"),
        ],
    )
    assert "2 messages wait for it, the oldest for 1m40s." in summary(seen)
    assert "1 message that it has not handled yet, at try 2." in summary(seen)
    assert "1 message was given up: see `botvisor inbox ada`." in summary(seen)


@pytest.mark.parametrize(
    "health", [{"ledger": 3, "store": "x", "backend": 1, "blocked": [], "resting": None}]
)
@pytest.mark.parametrize("status", ["starting", "healthy", "degraded", "draining", "blocked", "lost", "new"])
def test_a_heartbeat_of_another_version_is_told_as_far_as_it_is_understood(health, status):
    assert summary(sight(status, health=health)).startswith("ada (process 4711 on h)")
