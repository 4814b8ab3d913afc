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
from botvisor.store import Command, ListIdentities, ReadIdentity, WriteIdentity

_TIMEOUT_S = 3.0


class IdentityActor(BatchActor):
    """One incarnation of a bot's identity cache. Its messages are the store's own identity commands.

    Args:
        cache: what it keeps; it survives this actor, and hits never come here.
        backend: the backend actor.
        log: where it says what it does.
    """

    def __init__(self, cache: IdentityCache, backend: Ref, log: Log) -> None:
        self._cache = cache
        self._backend = backend
        self._log = log

    async def handle_batch(self, messages: Sequence[Any]) -> list[Any]:
        """Hand a batch on to the backend, each read once, and keep what it answers."""
        unknown = [type(message).__name__ for message in messages if not isinstance(message, Command)]
        if unknown:
            raise TypeError(f"IdentityActor cannot handle {unknown[0]}")
        # Equal reads that stand side by side are one; a write between them keeps them apart.
        commands: list[Command] = []
        places: list[int] = []
        reads: dict[Command, int] = {}
        for message in messages:
            if isinstance(message, WriteIdentity):
                reads.clear()
            if message in reads:
                places.append(reads[message])
                continue
            if isinstance(message, ReadIdentity):
                reads[message] = len(commands)
            places.append(len(commands))
            commands.append(message)
        answers = await self._ask(commands)
        for command, answer in zip(commands, answers, strict=True):
            self._keep(command, answer)
        return [answers[place] for place in places]

    def _keep(self, command: Command, answer: Any) -> None:
        if isinstance(answer, Exception):
            return
        match command:
            case WriteIdentity(identity):
                self._cache.put(identity)
                self._log.info("identity", f"Stored identity for participant {identity.participant_id}")
            case ReadIdentity() if isinstance(answer, Identity):
                self._cache.put(answer)
            case ListIdentities():
                for identity in answer:
                    self._cache.put(identity)

    async def _ask(self, commands: list[Command]) -> list[Any]:
        try:
            answers = await self._backend.ask_all(commands, timeout=_TIMEOUT_S)
        except ActorError as error:
            answers = [error] * len(commands)
        # To whoever asked it is the store that failed, whichever actor it failed in.
        return [StoreUnavailable(str(a)) if isinstance(a, ActorError) else a for a in answers]
