"""The probes: what a process manager asks of a process with bots, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.stapled import MultiListener

from botvisor.config import Settings

from .child import State
from .handle import BotHandle
from .health import PROBES, Health
from .logs import Log
from .metrics import ExtraMissing, Metrics
from .responder import Answer, Responder
from .supervisor import Supervisor

TRY_AGAIN_S = 2.0  # to listen on a port that is taken


class Probes:
    """Answers ``/livez``, ``/readyz`` and ``/metrics``, on the event loop that it tells of.

    ``/livez`` is answered with 200 by every loop that turns. ``/readyz`` is 200 while a bot's `main` runs and
    it takes messages, and 503 before and after. None of them asks the store anything.

    Args:
        settings: name the address and the port.
        supervisor: supervises the bots' children.
        health: looks after the bots' health; it is told when the port cannot be used.
        handles: the bots that run, by their ids.
        on_trouble: called when the port cannot be used, and when it can again.
        log: where that is said.
    """

    def __init__(
        self,
        settings: Settings,
        supervisor: Supervisor,
        health: Health,
        handles: Mapping[str, BotHandle],
        on_trouble: Callable[[], None],
        log: Log,
    ) -> None:
        self._host = settings.probe_host
        self._port = settings.probe_port
        self._supervisor = supervisor
        self._health = health
        self._handles = handles
        self._on_trouble = on_trouble
        self._log = log
        self._metrics = Metrics(supervisor, health, handles)

    async def run(self, started: Callable[[], None]) -> None:
        """Answer until cancelled.

        A port that cannot be used leaves the bots degraded, and is tried again.

        Args:
            started: called at once: no bot waits for its probes.
        """
        started()
        while (listener := await self._listen()) is None:  # noqa: ASYNC110 - nobody tells when a port is free
            await anyio.sleep(TRY_AGAIN_S)
        async with listener:
            port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - this is no Django
            self._log.info("supervisor", f"Probes are answered on {self._host} port {port}")
            await Responder(self._respond).serve(listener)

    async def _listen(self) -> MultiListener[SocketStream] | None:
        try:
            listener = await anyio.create_tcp_listener(local_host=self._host, local_port=self._port or 0)
        except (OSError, UnicodeError) as error:
            if PROBES not in self._health.ailing:
                self._health.ailing.add(PROBES)
                self._log.error(
                    "supervisor",
                    f"Probes cannot be answered on {self._host} port {self._port}: {error} - free it, or set "
                    "BOT_PROBE_HOST and BOT_PROBE_PORT to what is free; the bot runs without them",
                )
                self._on_trouble()
            return None
        if PROBES in self._health.ailing:
            self._health.ailing.discard(PROBES)
            self._on_trouble()
        return listener

    async def _respond(self, path: str) -> Answer:
        match path:
            case "/livez":
                return Answer(HTTPStatus.OK, "ok")
            case "/readyz":
                return self._ready()
            case "/metrics":
                try:
                    return Answer(HTTPStatus.OK, *await self._metrics.render())
                except ExtraMissing as error:
                    return Answer(HTTPStatus.NOT_IMPLEMENTED, str(error))
        return Answer(HTTPStatus.NOT_FOUND, "there are /livez, /readyz and /metrics")

    def _ready(self) -> Answer:
        handles = list(self._handles.values())
        ready = any(self._takes_messages(handle) for handle in handles)
        lines = [f"{handle.id} {handle.vitals.status}" for handle in handles] or ["no bot runs yet"]
        return Answer(HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, "\n".join(lines))

    def _takes_messages(self, handle: BotHandle) -> bool:
        inbox = self._supervisor.state(f"{handle.id}/inbox")
        return handle.vitals.running and not handle.vitals.draining and inbox is not State.PARKED
