"""A bot for unit tests of `main`: the real runtime over a store in memory."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio

from botvisor.bot import Bot
from botvisor.bot_supervisor import BotSupervisor
from botvisor.client import Client
from botvisor.config import Settings
from botvisor.embed import supervised
from botvisor.handle import BotHandle
from botvisor.heartbeat import Heartbeat
from botvisor.hooks import Hooks
from botvisor.logs import Log
from botvisor.main import Main
from botvisor.receipt import Receipt
from botvisor.restart import Policy
from botvisor.storage import plain_storage

from .memory import MemoryStore
from .memory_doorbell import MemoryDoorbell

_LAST_GRACE_S = 1.0


class FakeBot:
    """A bot that runs over a store in memory, with the strings in the test's hands.

    Args:
        handle: the running bot.
        supervisor: its supervisor, which can start more bots over the same store.
        client: the operator's side of that store.
        store: the store, with its fault hooks.
    """

    def __init__(
        self, handle: BotHandle, supervisor: BotSupervisor, client: Client, store: MemoryStore
    ) -> None:
        self.handle: BotHandle = handle
        self.told: bool = False  # whether the test knows how `main` ended
        self.supervisor: BotSupervisor = supervisor
        self.client: Client = client
        self.store = store

    @property
    def bot(self) -> Bot:
        """What `main` was given."""
        return self.handle.bot

    async def send(self, payload: str | Mapping[str, Any], *, wait: float | None = None) -> Receipt:
        """Send the bot a message.

        Args:
            payload: the text, or a mapping with all its fields.
            wait: how long to wait for it to be handled, in seconds.

        Returns:
            The receipt.
        """
        return await self.client.send(self.handle.id, payload, wait=wait)

    async def heartbeat(self) -> Heartbeat | None:
        """Return the bot's last heartbeat."""
        return await self.client.heartbeat(self.handle.id)

    async def stop(self, *, grace: float | None = None) -> None:
        """Stop the bot as SIGTERM does, and wait until it has ended."""
        await self.handle.stop("the test stops it", grace=grace)

    async def wait(self, timeout: float = 10.0) -> Any:
        """Wait for `main` to end.

        Args:
            timeout: how long, in seconds.

        Returns:
            What `main` returned.

        Raises:
            TimeoutError: when it has not ended in time.
            BaseException: what `main` raised.
        """
        with anyio.fail_after(timeout):
            await self.handle.finished.wait()
        self.told = True
        return await self.handle.wait()


@contextlib.asynccontextmanager
async def fake_bot(
    main: Main,
    *,
    room_url: str = "https://example.test/room",
    bot_id: str | None = None,
    policy: Policy | None = None,
    grace: float = 15.0,
    settings: Settings | None = None,
    store: MemoryStore | None = None,
    hooks: Hooks | None = None,
) -> AsyncIterator[FakeBot]:
    """Run a bot's `main` in a test: no files, no server, no signals, and virtual time if the test has it.

    Args:
        main: the bot's code.
        room_url: its room.
        bot_id: its id; None makes one that no other test has.
        policy: how its actors are restarted, and with `restart` set, `main` too.
        grace: how long `main` has to end when the bot is stopped, in seconds.
        settings: None takes the defaults, whatever the environment holds.
        store: None makes an empty one; hand one on to let a second bot find what the first one left.
        hooks: what is called when something happens to the bot.

    Yields:
        The fake bot. When the block is left it is stopped, with a second's grace.

    Raises:
        BaseException: when the block is left, what `main` raised, unless the test has waited for it.
    """
    settings = settings or Settings()
    store = store if store is not None else MemoryStore()
    log = Log("memory")
    supervisor = BotSupervisor(settings, plain_storage(store, MemoryDoorbell(store), log))
    async with supervised(supervisor):
        handle = await supervisor.start_bot(
            main,
            room_url=room_url,
            bot_id=bot_id or f"test-{uuid.uuid4().hex[:8]}",
            policy=policy,
            grace=grace,
            hooks=hooks,
        )
        bot = FakeBot(handle, supervisor, Client(supervisor.backend, settings, log), store)
        try:
            yield bot
        finally:
            handle.request_stop("the test is over", grace=min(grace, _LAST_GRACE_S))
        await handle.finished.wait()
        if not bot.told:
            await handle.wait()
