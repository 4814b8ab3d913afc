"""`main`: the author's code, as a child of the supervisor."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from . import tasks
from .bot import Bot, running_bot
from .envelope import Envelope
from .errors import collapse
from .restart import RestartType

Main = Callable[[Bot], Awaitable[Any]] | Callable[[], Awaitable[Any]]


class MainTask:
    """Runs `main`, and keeps what it returned.

    Args:
        main: takes the bot, or nothing.
        bot: the bot.
        on_running: called when `main` begins.

    Raises:
        TypeError: when `main` cannot be called so.
    """

    kind: RestartType = "temporary"
    parks = False
    handling = ""

    def __init__(self, main: Main, bot: Bot, on_running: Callable[[], None]) -> None:
        self.name = f"{bot.id}/main"
        self.value: Any = None
        self.exit: SystemExit | None = None
        self._call = _awaited(main, (bot,) if takes_bot(main) else ())
        self._bot = bot
        self._on_running = on_running
        self._task: Any = None

    async def run(self, started: Callable[[], None]) -> None:
        """Run `main` once."""
        self._task = tasks.current()
        self.value = self.exit = None
        running_bot.set(self._bot)
        self._on_running()
        started()
        try:
            self.value = await self._call()
        except BaseException as raised:
            error = collapse(raised)
            if not isinstance(error, SystemExit):
                self._bot.inbox.reader_ended(handled=False)
                raise
            self.exit = error
            self._bot.inbox.reader_ended(handled=error.code in (None, 0))
        else:
            self._bot.inbox.reader_ended(handled=True)

    def request_stop(self, reason: str) -> None:
        """Do nothing: `main` sees its inbox end, and `wait_stopping` return."""

    def nudge(self) -> bool:
        """Cancel in the event loop's own way, which the libraries of a bot know best."""
        return tasks.cancel_natively(self._task)

    def rest(self) -> Sequence[Envelope]:
        """Return nothing: there is no mailbox."""
        return ()

    def dispose(self) -> Sequence[Envelope]:
        """Return nothing: there is no mailbox."""
        return ()


def takes_bot(main: Main) -> bool:
    """Return whether `main` takes the bot, rather than nothing.

    Raises:
        TypeError: when it can be called in neither way.
    """
    if not callable(main):
        raise TypeError(f"main is an async function that takes the bot or nothing, not {main!r}")
    signature = inspect.signature(main)
    for arguments in (("the bot",), ()):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return bool(arguments)
    raise TypeError(f"main takes the bot or nothing, but its signature is {signature}")


def _awaited(main: Callable[..., Any], arguments: tuple[Bot, ...]) -> Callable[[], Awaitable[Any]]:
    async def call() -> Any:
        result = main(*arguments)
        if not inspect.isawaitable(result):
            raise TypeError(f"main must be an async function: {main!r} returned {type(result).__name__}")
        return await result

    return call
