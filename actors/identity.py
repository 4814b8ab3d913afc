"""The identity-cache actor: one read for all who miss the same participant at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from botvisor.actor import BatchActor
from botvisor.errors import ActorError, StoreUnavailable
from botvisor.identities import IdentityCache
from botvisor.identity import Identity
from botvisor.logs import Log
from botvisor.ref import Ref
from botvisor.store import CleanUpIdentities, Command, ListIdentities, ReadIdentity, WriteIdentity

_TIMEOUT_S = 4.5  # the batch that is in flight may take its 2 s before ours takes the same


class IdentityActor(BatchActor):
    """One incarnation of a bot's identity cache. Its messages are the store's own identity commands.

    Args:
        cache: what it keeps; it survives this actor, and hits never come here.
        backend: the backend actor.
        log: where it says what it does.
    """

    def __init__(self, cache: IdentityCache, backend: Ref[Any, Any], log: Log) -> None:
        self._cache = cache
        self._backend = backend
        self._log = log

    async def handle_batch(self, messages: Sequence[Any]) -> list[Any]:
        """Hand a batch on to the backend, each read once, and keep what it answers."""
        answers: list[Any] = [None] * len(messages)
        asked: list[tuple[Any, list[int]]] = []  # a command, and the places of those who wait for its answer
        reads: dict[Command, list[int]] = {}
        unchanged = True
        for place, message in enumerate(messages):
            waiting = [place]
            if not isinstance(message, (ReadIdentity, ListIdentities)):
                reads.clear()  # what is read after a write is not what was read before it
                unchanged = False
            elif message in reads:
                reads[message].append(place)
                continue
            elif unchanged and (kept := self._kept(message)) is not None:
                answers[place] = kept  # it was read while this one waited
                continue
            else:
                reads[message] = waiting
            asked.append((message, waiting))
        changes = self._cache.changes
        answered = await self._ask([command for command, _ in asked])
        for (command, waiting), answer in zip(asked, answered, strict=True):
            if isinstance(command, WriteIdentity) and not isinstance(answer, Exception):
                who = command.identity.participant_id
                self._log.info("identity", f"Stored identity for participant {who}")
            # What was asked for while somebody wrote may be older than what he wrote.
            if self._cache.changes == changes or isinstance(command, CleanUpIdentities):
                self._keep(command, answer)
            for place in waiting:
                answers[place] = answer
        return answers

    def _kept(self, message: ReadIdentity | ListIdentities) -> Identity | None:
        return self._cache.get(message.participant_id) if isinstance(message, ReadIdentity) else None

    def _keep(self, command: Command, answer: Any) -> None:
        if isinstance(answer, Exception):
            return
        match command:
            case WriteIdentity(identity):
                self._cache.put(identity)
            case ReadIdentity() if isinstance(answer, Identity):
                self._cache.put(answer)
            case ListIdentities():
                for identity in answer:
                    self._cache.put(identity)
            case CleanUpIdentities():
                self._cache.clear()

    async def _ask(self, commands: list[Command]) -> list[Any]:
        answers = await self._backend.ask_all(commands, timeout=_TIMEOUT_S) if commands else []
        # To whoever asked it is the store that failed, whichever actor it failed in.
        return [StoreUnavailable(str(a)) if isinstance(a, ActorError) else a for a in answers]
