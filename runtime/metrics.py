"""The metrics of a process with bots, in the text form of Prometheus."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from .errors import BotvisorError
from .handle import BotHandle
from .health import Health
from .supervisor import Supervisor
from .usage import Usage, read_usage

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_QUANTILES = (("0.5", "p50_ms"), ("0.99", "p99_ms"))

Sample = tuple[Sequence[str], float | None]
"""The values of the labels, and the value; a value that is not known is left out."""


class ExtraMissing(BotvisorError):
    """What the metrics are written with is not installed."""

    def __str__(self) -> str:
        return "metrics need what `pip install 'botvisor[metrics]'` installs"


class Metrics:
    """Tells of a supervisor's bots and of their process.

    The names of the process's own figures are those of OpenTelemetry's semantic conventions, as its exporter
    for Prometheus writes them.

    Args:
        supervisor: supervises the bots' children.
        health: knows what they share.
        handles: the bots that run, by their ids.
    """

    def __init__(self, supervisor: Supervisor, health: Health, handles: Mapping[str, BotHandle]) -> None:
        self._supervisor = supervisor
        self._health = health
        self._handles = handles

    async def render(self) -> tuple[bytes, str]:
        """Return all metrics, and the content type of their form.

        Raises:
            ExtraMissing: when prometheus-client is not installed.
        """
        try:
            # It takes a tenth of a second: too long for an event loop.
            client = await anyio.to_thread.run_sync(importlib.import_module, "prometheus_client")
        except ImportError as error:
            raise ExtraMissing from error
        registry = client.CollectorRegistry(auto_describe=False)
        registry.register(_Collected(list(self._metrics())))
        # That of a thousand bots takes a while.
        text: bytes = await anyio.to_thread.run_sync(client.generate_latest, registry)
        return text, client.CONTENT_TYPE_LATEST

    def _metrics(self) -> Iterator[Metric]:
        shared = self._health.shared()
        yield from _of_process(read_usage())
        yield from _of_loop(shared)
        yield from _of_backend(shared)
        yield from self._of_bots()
        yield from self._of_actors()

    def _of_bots(self) -> Iterator[Metric]:
        handles = [((handle.id,), handle) for handle in list(self._handles.values())]
        figures = [(bot, handle.vitals.figures()) for bot, handle in handles]
        yield _gauge(
            "botvisor_bot_status",
            "1 for the status that the bot has.",
            [((*bot, told["status"]), 1) for bot, told in figures],
            ("bot", "status"),
        )
        yield _gauge(
            "botvisor_bot_uptime_seconds",
            "Time since the bot was started.",
            [(bot, told["uptime_s"]) for bot, told in figures],
            ("bot",),
        )
        yield _counter(
            "botvisor_messages_handled",
            "Admin messages that main has handled.",
            [(bot, handle.bot.inbox.handled) for bot, handle in handles],
            ("bot",),
        )

    def _of_actors(self) -> Iterator[Metric]:
        supervisor, labels = self._supervisor, ("bot", "actor")
        names = supervisor.names()
        waiting = {name: supervisor.waiting(name) for name in names if supervisor.has_mailbox(name)}
        yield _gauge(
            "botvisor_mailbox_depth",
            "Messages that wait for an actor.",
            [(_actor(name), depth) for name, (depth, _) in waiting.items()],
            labels,
        )
        yield _gauge(
            "botvisor_mailbox_oldest_message_seconds",
            "How long the oldest of them has waited.",
            [(_actor(name), oldest_s) for name, (_, oldest_s) in waiting.items()],
            labels,
        )
        yield _counter(
            "botvisor_restarts",
            "Restarts after a failure.",
            [(_actor(name), supervisor.ledger.restarts(name)) for name in names],
            labels,
        )


class _Collected:
    """A collector that has collected already, on the event loop, where everything stands still for it."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Sequence[Metric]:
        return self._metrics


def _of_process(usage: Usage) -> Iterator[Metric]:
    yield _counter(
        "process_cpu_time_seconds",
        "Processor time.",
        [(("user",), usage.user_s), (("system",), usage.system_s)],
        ("cpu_mode",),
    )
    yield _counter(
        "process_context_switches",
        "How often the process waited, or was made to.",
        [(("voluntary",), usage.voluntary_switches), (("involuntary",), usage.involuntary_switches)],
        ("process_context_switch_type",),
    )
    yield _gauge("process_memory_usage_bytes", "Resident memory.", [((), usage.memory_bytes)])
    yield _gauge("process_memory_virtual_bytes", "Virtual memory.", [((), usage.virtual_bytes)])
    yield _gauge("process_thread_count", "Threads.", [((), usage.threads)])
    yield _gauge("process_unix_file_descriptor_count", "Open files.", [((), usage.descriptors)])
    yield _gauge("process_uptime_seconds", "Time since the process started.", [((), usage.uptime_s)])


def _of_loop(shared: Mapping[str, Any]) -> Iterator[Metric]:
    yield _gauge(
        "botvisor_event_loop_lag_seconds",
        "How late the event loop was at worst, within the last one or two intervals between heartbeats.",
        [((), shared["lag_ms"] / 1000)],
    )
    yield _gauge(
        "botvisor_gc_pause_seconds",
        "The longest pause for garbage since the start.",
        [((), shared["gc_pause_ms"] / 1000)],
    )
    yield _counter(
        "botvisor_cgroup_throttled_seconds",
        "How long the cgroup kept the process from running.",
        [((), shared.get("throttled_s"))],
    )


def _of_backend(shared: Mapping[str, Any]) -> Iterator[Metric]:
    store = shared["store"]
    yield _gauge(
        "botvisor_backend_mode",
        "1 for where everything is kept: redis, file, none, or recovering.",
        [((shared["backend"],), 1)],
        ("mode",),
    )
    yield _gauge("botvisor_backend_mode_seconds", "For how long it has been.", [((), store.get("since_s"))])
    yield _gauge("botvisor_kept_commands", "What Redis has yet to be told.", [((), store.get("kept"))])
    backends = [((name,), figures) for name, figures in store.items() if isinstance(figures, dict)]
    for name, text in (("operations", "Operations"), ("errors", "Operations that failed")):
        yield _counter(
            f"botvisor_backend_{name}",
            f"{text}, by backend and kind.",
            [
                ((*backend, kind), count)
                for backend, figures in backends
                for kind, count in figures[name].items()
            ],
            ("backend", "operation"),
        )
    for name, text in (
        ("batches", "Batches of operations"),
        ("retries", "Operations that were tried again"),
        ("fallbacks", "Operations that another backend carried out in this one's place"),
    ):
        counts = [(backend, figures[name]) for backend, figures in backends]
        yield _counter(f"botvisor_backend_{name}", f"{text}, by backend.", counts, ("backend",))
    yield _gauge(
        "botvisor_backend_batch_duration_seconds",
        "How long a batch takes, of the last thousand.",
        [
            ((*backend, quantile), figures[key] / 1000)
            for backend, figures in backends
            for quantile, key in _QUANTILES
        ],
        ("backend", "quantile"),
    )


def _gauge(name: str, text: str, samples: Iterable[Sample], labels: Sequence[str] = ()) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return _filled(GaugeMetricFamily(name, text, labels=labels), samples)


def _counter(name: str, text: str, samples: Iterable[Sample], labels: Sequence[str] = ()) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    return _filled(CounterMetricFamily(name, text, labels=labels), samples)


def _filled(family: Any, samples: Iterable[Sample]) -> Metric:
    for values, value in samples:
        if value is not None:
            family.add_metric(list(values), value)
    return family  # type: ignore[no-any-return]


def _actor(name: str) -> tuple[str, str]:
    bot, _, actor = name.rpartition("/")
    return bot, actor
