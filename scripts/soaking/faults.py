"""Lets the drawn faults strike, and writes down when each really came and was over."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread

from botvisor import Client
from botvisor.errors import NotStored
from botvisor.testing import ChaosProxy
from botvisor.testing.redis_server import RedisServer

from .bot import CRASH
from .cast import INJECTOR, cast
from .disk import Disk
from .fleet import Fleet
from .ledger import Ledger
from .options import Options
from .records import Struck
from .schedule import Fault
from .sender import send

_LOST_REPLY_LIMIT_S = 2.0
_REQUESTS = {"lost-claim": b"admin:proc:", "lost-exec": b"EXEC"}


class Injector:
    """Carries out the faults of a run.

    Args:
        server: Redis.
        proxy: what all processes reach it through.
        fleet: the processes.
        disk: the small disk, or None.
        client: what restarts actors.
        options: the run's options.
        ledger: where faults are written down.
        sent: where the messages are written down that it sends.
        tell: told of each fault as it strikes.
    """

    def __init__(
        self,
        server: RedisServer,
        proxy: ChaosProxy,
        fleet: Fleet,
        disk: Disk | None,
        client: Client,
        options: Options,
        ledger: Ledger,
        sent: Ledger,
        tell: Callable[[Fault], None],
    ) -> None:
        self._server = server
        self._proxy = proxy
        self._fleet = fleet
        self._disk = disk
        self._client = client
        self._options = options
        self._ledger = ledger
        self._sent = sent
        self._tell = tell
        self._roles = {bot.name: bot for bot in cast(options).bots}
        self._locks: dict[str, anyio.Lock] = {}

    async def run(self, faults: list[Fault], began: float) -> None:
        """Let all of them strike, each at its time, and return when the last one is over.

        What is down already is not taken down once more: such a fault comes when it is up again.
        """
        async with anyio.create_task_group() as group:
            for fault in faults:
                group.start_soon(self._strike, fault, began)

    async def _strike(self, fault: Fault, began: float) -> None:
        await anyio.sleep(max(0.0, began + fault.at - time.monotonic()))
        row = "actors" if fault.kind == "actor-crash" else fault.target
        async with self._locks.setdefault(row, anyio.Lock()):
            self._tell(fault)
            at = time.monotonic()
            how = await self._carry_out(fault) or fault.how
            struck = Struck(
                number=fault.number,
                kind=fault.kind,
                target=fault.target,
                how=how,
                planned=began + fault.at,
                at=at,
                healed=time.monotonic(),
            )
            await anyio.to_thread.run_sync(self._ledger.write, struck)

    def _carry_out(self, fault: Fault) -> Awaitable[str | None]:
        ways: dict[str, Callable[[Fault], Awaitable[str | None]]] = {
            "redis-kill": self._kill_redis,
            "hang": self._hang,
            "reset": self._reset,
            "bot-kill": self._kill_bot,
            "actor-crash": self._crash_actor,
            "full-disk": self._fill_disk,
        }
        return ways[fault.kind](fault)

    async def _kill_redis(self, fault: Fault) -> None:
        self._server.kill()
        await anyio.sleep(fault.lasts)
        await self._server.start()

    async def _hang(self, fault: Fault) -> None:
        self._server.pause()
        try:
            await anyio.sleep(fault.lasts)
        finally:
            self._server.resume()

    async def _reset(self, fault: Fault) -> str | None:
        if fault.how == "rst":
            self._proxy.reset()
        elif fault.how in _REQUESTS:
            lost = self._proxy.drop_reply(_REQUESTS[fault.how])
            with anyio.move_on_after(_LOST_REPLY_LIMIT_S) as limit:
                await lost.wait()
            if limit.cancelled_caught:
                return f"{fault.how}, none came in time"
        else:
            kind = fault.how.removeprefix("kill-")
            command = f"CLIENT KILL TYPE {kind}\r\n".encode()
            await anyio.to_thread.run_sync(functools.partial(self._server.talk, command))
        return None

    async def _kill_bot(self, fault: Fault) -> None:
        bot = self._fleet.bots[fault.target]
        bot.kill()
        await anyio.sleep(fault.lasts)
        bot.start()

    async def _crash_actor(self, fault: Fault) -> str | None:
        way, actor = fault.how.split()
        role = self._roles[fault.target]
        if way == "crash":  # the message may reach another bot of the room: then one of that bot's crashes
            payload = {"message": CRASH, "actor": actor}
            target = role.bot_id or role.room
            done = await send(self._client, self._sent, self._options, INJECTOR, target, payload)
        else:
            done = await self._restart(role.bot_id or str(self._fleet.bots[role.name].pid), actor)
        return None if done else f"{fault.how}, not accepted"

    async def _restart(self, bot_id: str, actor: str) -> bool:
        try:
            await self._client.control(bot_id, "restart", actor=actor)
        except NotStored:
            return False
        return True

    async def _fill_disk(self, fault: Fault) -> None:
        if self._disk is None:
            return
        await anyio.to_thread.run_sync(self._disk.fill)
        try:
            await anyio.sleep(fault.lasts)
        finally:
            await anyio.to_thread.run_sync(self._disk.free)
