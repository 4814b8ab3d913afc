"""The hook runner: calls a bot's hooks, one at a time, where they can harm nobody."""

from __future__ import annotations

import inspect
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import anyio

from . import tasks
from .bot import Bot, running_bot
from .daemon_call import DaemonCall
from .errors import describe
from .hooks import Hooks
from .logs import Log

LIMIT_S = 5.0  # of one call; and of all that wait when the bot has stopped
MESSAGES_LIMIT = 256

Moment = Literal["started", "ready", "message", "degraded", "recovered", "draining", "stopped"]


class _Call(NamedTuple):
    moment: Moment
    arguments: tuple[Any, ...] = ()


class HookRunner:
    """Calls the hooks of one bot.

    Its `run` must run beside the bot. What waits, and what is known of the hooks, outlives a restart of it.

    Args:
        hooks: the hooks.
        bot: what each is given.
        trouble: returns why the bot is degraded; empty when it is not.
        log: where it is said that a hook has failed.

    Attributes:
        name: the name of the child that it is run as.
    """

    def __init__(self, hooks: Hooks, bot: Bot, trouble: Callable[[], str], log: Log) -> None:
        self._hooks = hooks
        self._bot = bot
        self.name = f"{bot.id}/hooks"
        self._trouble = trouble
        self._log = log
        self._waiting: deque[_Call | anyio.Event] = deque()  # an event is set when it is due
        self._news = anyio.Event()
        self._messages = 0  # of those that wait
        self._scope = anyio.CancelScope()  # of the call that runs
        self._calls: dict[Moment, DaemonCall] = {}
        self._told: set[str] = set()
        self._watches = hooks.on_degraded is not None or hooks.on_recovered is not None
        self._serving = False  # from `ready` to `draining`
        self._started = False
        self._degraded = False
        self._looking = False
        if hooks.on_message is not None:
            bot.inbox.on_shown = lambda message: self.tell("message", message)

    @property
    def wanted(self) -> bool:
        """Whether there is any hook."""
        return self._hooks != Hooks()

    async def run(self, started: Callable[[], None]) -> None:
        """Call hooks until cancelled; `started` is called at once."""
        running_bot.set(self._bot)
        started()
        while True:
            self._compare()
            if not self._waiting:
                self._news = anyio.Event()
                await self._news.wait()
                continue
            due = self._waiting.popleft()
            if isinstance(due, anyio.Event):
                due.set()
            else:
                self._messages -= due.moment == "message"
                await self._call(due)

    def tell(self, moment: Moment, *arguments: Any) -> None:
        """Have a hook called, if there is one, after those that wait.

        Args:
            moment: what has happened.
            arguments: what the hook is given after the bot.
        """
        self._started |= moment == "started"
        if moment in ("ready", "draining"):
            self._serving = moment == "ready"
        if self._hook(moment) is not None:
            if moment == "message":
                if self._messages >= MESSAGES_LIMIT:
                    self._complain(moment, f"{MESSAGES_LIMIT} messages wait for it, so others pass it by")
                    return
                self._messages += 1
            self._waiting.append(_Call(moment, arguments))
            self._news.set()
        if moment == "ready":
            self.look()

    def look(self) -> None:
        """See, soon, whether the bot has become degraded or has recovered."""
        if self._watches and not self._looking:
            self._looking = True
            self._news.set()

    async def finish(self) -> None:
        """Have `on_stopped` called, and wait for everything that waits. Bounded: what hangs is cancelled.

        A bot that did not even start has not stopped.
        """
        if not (self.wanted and self._started):
            return
        self.tell("stopped")
        done = anyio.Event()
        self._waiting.append(done)
        self._news.set()
        for _ in range(2):
            with anyio.move_on_after(LIMIT_S / 2):
                await done.wait()
                return
            last = [due for due in self._waiting if isinstance(due, anyio.Event) or due.moment == "stopped"]
            self._waiting = deque(last)
            self._scope.cancel()

    def _hook(self, moment: Moment) -> Callable[..., object] | None:
        hook: Callable[..., object] | None = getattr(self._hooks, f"on_{moment}")
        return hook

    def _compare(self) -> None:
        """Tell the hooks of a change of the bot's health."""
        if not self._looking:
            return
        self._looking = False
        if not self._serving:
            return
        reason = self._trouble()
        if bool(reason) is not self._degraded:
            self._degraded = bool(reason)
            if reason:
                self.tell("degraded", reason)
            else:
                self.tell("recovered")

    async def _call(self, due: _Call) -> None:
        hook = self._hook(due.moment)
        if hook is None:
            return
        try:
            with anyio.move_on_after(LIMIT_S) as self._scope:
                await self._carry_out(due.moment, hook, (self._bot, *due.arguments))
            if self._scope.cancelled_caught:
                self._complain(due.moment, "it takes too long")
        except anyio.get_cancelled_exc_class() as error:
            if tasks.cancelled_from_outside():
                raise
            self._complain(due.moment, describe(error))
        except GeneratorExit:
            raise
        except BaseException as error:  # a hook's `sys.exit` ends nothing either
            self._complain(due.moment, describe(error), "".join(traceback.format_exception(error)))

    async def _carry_out(
        self, moment: Moment, hook: Callable[..., object], arguments: tuple[Any, ...]
    ) -> None:
        if _is_async(hook):
            result = hook(*arguments)
        else:
            before = self._calls.get(moment)
            if before is not None and before.running:
                return  # a thread cannot be cancelled: of each hook one hangs at most
            call = self._calls[moment] = DaemonCall(hook, *arguments)
            result = await call.result()
        if inspect.isawaitable(result):
            await result

    def _complain(self, moment: Moment, problem: str, detail: str = "") -> None:
        if moment not in self._told:
            self._told.add(moment)
            self._log.warning(
                "supervisor", f"The hook on_{moment} of bot {self._bot.id} failed: {problem}", detail
            )


def _is_async(hook: Callable[..., object]) -> bool:
    return inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(type(hook).__call__)
