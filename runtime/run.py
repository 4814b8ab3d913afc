"""`run_bot`: a script's whole program."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, NoReturn

import anyio

from botvisor.config import Settings, load_settings
from botvisor.config.service_manager import take_service_manager

from . import logs, tasks
from .bot_supervisor import BotSupervisor
from .embed import open_supervisor
from .errors import BotvisorError
from .handle import BotHandle, Outcome
from .hooks import Hooks
from .logs import Log
from .main import Main
from .notifier import Notifier
from .restart import Policy
from .service import Service
from .signals import SignalWatch

THREADS_LIMIT_S = 5.0
_LOOK_AT_HANDLERS_S = 5.0


class LoopRuns(BotvisorError):
    """`run_bot` was called where an event loop runs already."""

    def __str__(self) -> str:
        return "run_bot starts an event loop of its own, and one runs here: use `async with open_bot(...)`"


def run_bot(
    main: Main,
    *,
    room_url: str = "",
    bot_id: str | None = None,
    settings: Settings | None = None,
    policy: Policy | None = None,
    backend: str = "asyncio",
    use_uvloop: bool | None = None,
    grace: float = 15.0,
    log_level: str | None = None,
    hooks: Hooks | None = None,
) -> Any:
    """Run a bot until its `main` ends: the last line of a bot's script.

    It owns the event loop and the signals. The first SIGTERM or SIGINT ends the bot's inbox and gives `main`
    its grace to end; then `main` is cancelled. A second one ends the process at once.

    systemd is told how the bot is if it has set ``NOTIFY_SOCKET``; that is taken out of the environment.

    Args:
        main: the bot's code: an async function that takes the `Bot`, or nothing.
        room_url: the room that it serves.
        bot_id: its id; None takes `BOT_ID`, or makes one from the pid.
        settings: None reads the environment.
        policy: how its actors are restarted, and with `restart` set, `main` too.
        backend: ``asyncio`` or ``trio``.
        use_uvloop: on asyncio; None uses uvloop where it is installed.
        grace: how long `main` has to end when the bot is stopped, in seconds.
        log_level: replaces loguru's default sink by one of that level; None takes `BOT_LOG_LEVEL`, and
            without that leaves loguru alone.
        hooks: what is called when something happens to the bot.

    Returns:
        What `main` returned.

    Raises:
        BaseException: what `main` raised, bare.
        SystemExit: 143 when `main` had to be cancelled, 130 after SIGINT, or what `main` itself exits with.
        SettingsError: when the environment holds bad values.
        BotIdTaken: when a live bot elsewhere has the id that was given.
        StartFailed: when an actor did not start.
        LoopRuns: when an event loop runs here already.
    """
    if _loop_runs():
        raise LoopRuns
    settings = settings or load_settings()
    logs.configure(log_level or settings.log_level)
    watch, left, notifier = SignalWatch(), threading.Event(), Notifier(take_service_manager())

    async def start(supervisor: BotSupervisor) -> BotHandle:
        return await supervisor.start_bot(
            main, room_url=room_url, bot_id=bot_id, policy=policy, grace=grace, hooks=hooks
        )

    async def program() -> Outcome:
        return await _run(watch, left, notifier, settings, start)

    options = {"use_uvloop": _uvloop(use_uvloop)} if backend == "asyncio" else {}
    with contextlib.closing(notifier):
        outcome = anyio.run(program, backend=backend, backend_options=options)
    left.set()
    return conclude(outcome, watch.first)


def conclude(outcome: Outcome, heard: signal.Signals | None) -> Any:
    """Return or raise what `run_bot` has to.

    Args:
        outcome: how the bot ended.
        heard: the signal that ended it, if one did.

    Returns:
        What `main` returned.

    Raises:
        BaseException: what `main` raised, with a traceback that begins in `main`.
        SystemExit: see `run_bot`.
    """
    if outcome.error is not None:
        raise outcome.error.with_traceback(_authors_part(outcome.error.__traceback__))
    if outcome.exit is not None:
        raise outcome.exit
    if heard is signal.SIGINT:
        raise SystemExit(128 + signal.SIGINT)
    if outcome.cancelled:
        raise SystemExit(128 + signal.SIGTERM)
    return outcome.value


async def _run(
    watch: SignalWatch,
    left: threading.Event,
    notifier: Notifier,
    settings: Settings,
    start: Callable[[BotSupervisor], Awaitable[BotHandle]],
) -> Outcome:
    heard, starting = anyio.Event(), anyio.CancelScope()

    def on_first(_: signal.Signals) -> None:
        heard.set()
        starting.cancel()

    with watch.watch(on_first):
        async with open_supervisor(settings) as supervisor:
            with starting:
                handle = await start(supervisor)
            if starting.cancelled_caught:
                return Outcome(cancelled=True)
            _watch_handlers(watch, supervisor)
            service = Service(notifier, handle, supervisor.core.timers)
            await supervisor.stalls.open_dump(handle.id)
            async with anyio.create_task_group() as group:
                group.start_soon(_stop_when_heard, watch, heard, handle)
                group.start_soon(service.tell)
                await handle.finished.wait()
                group.cancel_scope.cancel()
            notifier.stopping()
            await supervisor.stalls.close_dump()
            await supervisor.shutdown()
            if supervisor.core.stuck:
                # It ignores even its scope's cancel: while it runs no task group can be left, and no loop.
                _leave_at_once(handle.outcome, watch.first)
        if watch.installed and handle.outcome.cancelled:
            _leave_threads_behind(handle.outcome, watch.first, left, supervisor.log)
        return handle.outcome


async def _stop_when_heard(watch: SignalWatch, heard: anyio.Event, handle: BotHandle) -> None:
    await heard.wait()
    if watch.first is not None:
        handle.request_stop(watch.first.name)


def _watch_handlers(watch: SignalWatch, supervisor: BotSupervisor) -> None:
    def look() -> None:
        if names := watch.replaced():
            supervisor.log.warning(
                "supervisor",
                f"Another library handles {' and '.join(names)} now, so the bot will not stop in order: tell "
                "it to leave the signals alone (for Pipecat: handle_sigint=False, handle_sigterm=False)",
            )
        else:
            supervisor.core.timers.at(anyio.current_time() + _LOOK_AT_HANDLERS_S, look)

    supervisor.core.timers.at(anyio.current_time() + 1.0, look)


def _leave_threads_behind(
    outcome: Outcome, heard: signal.Signals | None, left: threading.Event, log: Log
) -> None:
    """See to it that no thread keeps the process of a bot that has overstayed its grace.

    Args:
        outcome: how the bot ended.
        heard: the signal that ended it, if one did.
        left: set once the event loop has ended.
        log: where it is said which threads were left behind.
    """

    def leave() -> None:
        # A loop that ends waits for its worker threads, and after the script the interpreter waits for all.
        loop_ended = left.wait(THREADS_LIMIT_S)
        if loop_ended:
            threading.main_thread().join()
            time.sleep(THREADS_LIMIT_S)
        names = [thread.name for thread in threading.enumerate() if not thread.daemon]
        log.error("supervisor", f"Left threads behind that did not end in time: {', '.join(names)}")
        _leave_at_once(outcome, heard, told=loop_ended)

    threading.Thread(target=leave, name="botvisor end", daemon=True).start()


def _leave_at_once(outcome: Outcome, heard: signal.Signals | None, *, told: bool = False) -> NoReturn:
    code = 0
    try:
        conclude(outcome, heard)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str) and not told:
            sys.stderr.write(f"{error.code}\n")
    except BaseException:
        code = 1
        if not told:
            traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _authors_part(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of ours that it begins with, if anything is left then."""
    rest = trace
    while rest is not None and rest.tb_frame.f_globals.get("__name__", "").startswith("botvisor."):
        rest = rest.tb_next
    return rest or trace


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return tasks.on_trio()
    return True


def _uvloop(wanted: bool | None) -> bool:
    return importlib.util.find_spec("uvloop") is not None if wanted is None else wanted
