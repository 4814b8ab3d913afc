"""Every error botvisor raises on purpose. Each carries its facts as fields and formats itself."""

from __future__ import annotations

from collections.abc import Sequence


class BotvisorError(Exception):
    """The base of every error below."""


class SettingsError(BotvisorError):
    """One or more settings are wrong.

    Args:
        problems: one sentence for each bad variable: its name, what was expected and, unless it is a
            secret, what it holds.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__(*self.problems)

    def __str__(self) -> str:
        return "bad settings:\n" + "\n".join(f"  - {problem}" for problem in self.problems)


class StartFailed(BotvisorError):
    """A child did not start; what had started before it was stopped again.

    Args:
        child: the child's name, such as ``bot-1/inbox``.
        cause: what its start raised.
    """

    def __init__(self, child: str, cause: BaseException) -> None:
        self.child = child
        self.cause = cause
        super().__init__(child, cause)

    def __str__(self) -> str:
        return f"{self.child} did not start: {describe(self.cause)}"


class StartTimeout(BotvisorError):
    """A child did not report that it had started within its limit."""

    def __init__(self, child: str, limit_s: float) -> None:
        self.child = child
        self.limit_s = limit_s
        super().__init__(child, limit_s)

    def __str__(self) -> str:
        return f"{self.child} had not started after {self.limit_s:g} s"


class ActorError(BotvisorError):
    """What an `ask` or a `tell` can end with, other than its value.

    Args:
        actor: the actor's name.
    """

    def __init__(self, actor: str) -> None:
        self.actor = actor
        super().__init__(actor)


class MailboxFull(ActorError):
    """The actor's mailbox holds as many messages as it may; this one was not taken."""

    def __str__(self) -> str:
        return f"the mailbox of {self.actor} is full"


class ActorStopped(ActorError):
    """The actor is stopped or parked: it takes no messages."""

    def __str__(self) -> str:
        return f"{self.actor} is stopped"


class ActorCrashed(ActorError):
    """The actor failed while it was handling this message.

    Args:
        actor: the actor's name.
        cause: what its handler raised.
    """

    def __init__(self, actor: str, cause: BaseException) -> None:
        super().__init__(actor)
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.actor} crashed on this message: {describe(self.cause)}"


class AskTimeout(ActorError, TimeoutError):
    """The actor gave no answer before the ask's deadline."""

    def __init__(self, actor: str, timeout_s: float) -> None:
        super().__init__(actor)
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return f"{self.actor} gave no answer within {self.timeout_s:g} s"


class Reject(BotvisorError):
    """An expected, typed "no": an actor raises it to answer an `ask`, and lives on."""


class StoreError(Reject):
    """The store could not carry out a command."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or cannot write just now; trying again may help."""


class StoreAway(StoreUnavailable):
    """The store is known to be away, which has been said: whoever can wait for it does."""


class UnsafeDirectory(StoreError):
    """A directory could be read or changed by somebody else.

    Args:
        path: the directory.
        problem: what is wrong with it.
        remedy: what to do about it.
    """

    def __init__(self, path: str, problem: str, remedy: str) -> None:
        self.path = path
        self.problem = problem
        self.remedy = remedy
        super().__init__(path, problem, remedy)

    def __str__(self) -> str:
        return f"{self.path} {self.problem}: {self.remedy}"


class LeaseLost(StoreError):
    """Somebody else consumes this queue now.

    Args:
        queue: the queue's name.
    """

    def __init__(self, queue: str) -> None:
        self.queue = queue
        super().__init__(queue)

    def __str__(self) -> str:
        return f"the lease of {self.queue} is not ours"


class BotIdTaken(BotvisorError):
    """A live bot already runs under the id that was given.

    Args:
        bot_id: the id.
        owner: who holds it, in words: process, host and instance.
    """

    def __init__(self, bot_id: str, owner: str) -> None:
        self.bot_id = bot_id
        self.owner = owner
        super().__init__(bot_id, owner)

    def __str__(self) -> str:
        return (
            f"bot id {self.bot_id!r} is taken by {self.owner}: stop that bot, or give this one another BOT_ID"
        )


class ActorNameTaken(BotvisorError, ValueError):
    """A bot has an actor of that name.

    Args:
        actor: the actor's full name, such as ``bot-1/tally``.
        why: why the name is taken, in words.
    """

    def __init__(self, actor: str, why: str) -> None:
        self.actor = actor
        self.why = why
        super().__init__(actor, why)

    def __str__(self) -> str:
        return f"there is an actor {self.actor}, {self.why}: give this one another name"


class BotStopping(BotvisorError):
    """The bot is to stop, so it starts nothing more.

    Args:
        bot_id: the bot.
    """

    def __init__(self, bot_id: str) -> None:
        self.bot_id = bot_id
        super().__init__(bot_id)

    def __str__(self) -> str:
        return f"bot {self.bot_id} is stopping: it starts no more actors"


class QueueTaken(BotvisorError):
    """Somebody else takes the messages of this queue.

    Args:
        queue: whose messages they are, in words.
        owner: who takes them, in words: process, host and instance.
    """

    def __init__(self, queue: str, owner: str) -> None:
        self.queue = queue
        self.owner = owner
        super().__init__(queue, owner)

    def __str__(self) -> str:
        return f"the messages of {self.queue} go to {self.owner}: only one can take them, so stop that first"


class MalformedMessage(StoreError):
    """An admin message that cannot be understood; its bytes are kept in quarantine.

    Args:
        reason: what is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

    def __str__(self) -> str:
        return f"malformed admin message: {self.reason}"


class StrayCancellation(BotvisorError):
    """A child's task was cancelled by somebody who does not own it."""

    def __str__(self) -> str:
        return "cancelled by somebody else than its supervisor"


class SupervisorStopped(BotvisorError):
    """The supervisor has stopped, or is stopping: it starts nothing more."""

    def __str__(self) -> str:
        return "the supervisor has stopped"


class NotStored(BotvisorError):
    """No store took the message: it was not sent.

    Args:
        target: whom it was for.
        reason: why, in words.
    """

    def __init__(self, target: str, reason: str) -> None:
        self.target = target
        self.reason = reason
        super().__init__(target, reason)

    def __str__(self) -> str:
        return f"the message for {self.target} was not sent: {self.reason}"


def describe(error: BaseException) -> str:
    """Return an error in one line: its type and, if it has one, its text. Never raises."""
    try:
        text = str(error)
    except Exception:  # an author's own __str__ may fail, and must not take the supervisor with it
        text = "its text cannot be had"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def collapse(error: BaseException) -> BaseException:
    """Return the one error inside a group of one, however deep; a real group is returned whole."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
