"""How long faults disturbed callers and messages: pure functions of what the ledgers tell."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from .cast import INJECTOR
from .records import Accepted, AnyRecord, Handled, Refused, Struck
from .verdict import of

ON_REDIS = ("redis-kill", "hang", "reset")
ON_STORES = (*ON_REDIS, "full-disk")
OUTAGES = ("redis-kill", "hang")
_AFTERMATH_S = 5.0  # calls that began so long after a fault's end are not held up by it any more


class Trial(msgspec.Struct, frozen=True):
    """What a sender lived through until one message was accepted: a call, or several that failed before."""

    began: float
    at: float


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """Faults in a row, each of which came before everything had recovered from the one before.

    Args:
        faults: their numbers.
        kinds: what they were, each once.
        began: when the first one struck.
        healed: when the last one was over.
        recovered: when everything was as before; see `episodes`.
    """

    faults: list[int]
    kinds: list[str]
    began: float
    healed: float
    recovered: float

    @property
    def recovery_s(self) -> float:
        """How long it took to recover once the last fault was over, in seconds."""
        return self.recovered - self.healed


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the nearest-rank percentile, or None of no values."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else None


def trials(records: Sequence[AnyRecord]) -> dict[str, list[Trial]]:
    """Return what senders lived through, message by message: those with botvisor's client that try again."""
    calls: dict[str, list[Accepted | Refused]] = defaultdict(list)
    for record in records:
        if not isinstance(record, Accepted | Refused) or record.older or record.sender == INJECTOR:
            continue
        calls[record.sender].append(record)
    found: dict[str, list[Trial]] = {}
    for sender, made in calls.items():
        found[sender] = []
        began = None
        for call in sorted(made, key=lambda each: each.began):
            began = call.began if began is None else began
            if isinstance(call, Accepted):
                found[sender].append(Trial(began, call.at))
                began = None
    return found


def failovers(records: Sequence[AnyRecord]) -> dict[int, float]:
    """Return for each fault of Redis for how long it held a call of a sender up at the most, in seconds.

    A call is held up from the fault, or from when it was made if that is later, until a message was
    accepted; the time in which Redis was away and the disk was full does not count, as nobody could have
    accepted any. Looked at are the calls that were under way from the fault until shortly after it was over,
    or until the next fault of Redis or of the disk came.
    """
    lived = trials(records)
    faults = sorted((one for one in of(records, Struck) if one.kind in ON_STORES), key=lambda each: each.at)
    ends = [fault.at for fault in faults[1:]] + [float("inf")]
    nowhere = _without_a_store(faults)
    return {
        fault.number: max(
            (
                _outside(nowhere, max(trial.began, fault.at), trial.at)
                for each in lived.values()
                for trial in each
                if trial.at >= fault.at and trial.began < min(end, fault.healed + _AFTERMATH_S)
            ),
            default=0.0,
        )
        for fault, end in zip(faults, ends, strict=True)
        if fault.kind in ON_REDIS
    }


def episodes(records: Sequence[AnyRecord]) -> list[Episode]:
    """Return the episodes of a run.

    Everything has recovered when each message that was accepted before the last fault was over has reached
    `main`, and, after an outage of Redis, when each sender has had a message stored on Redis again.
    A fault that comes earlier belongs to the same episode. A reset is over as soon as it struck; within
    another fault's episode it does not count.
    """
    handled = _first_handled(records)
    messages = [one for one in of(records, Accepted) if one.id in handled]
    found: list[Episode] = []
    for fault in sorted(of(records, Struck), key=lambda each: each.at):
        last = found[-1] if found else None
        if last is not None and fault.at <= last.recovered:
            began, healed = last.began, max(last.healed, fault.healed)
            if fault.kind == "reset":
                healed = last.healed
            faults, kinds = [*last.faults, fault.number], sorted({*last.kinds, fault.kind})
            found.pop()
        else:
            began, healed, faults, kinds = fault.at, fault.healed, [fault.number], [fault.kind]
        ends = [healed]
        ends += [handled[one.id] for one in messages if one.at <= healed and handled[one.id] >= began]
        if not set(kinds).isdisjoint(OUTAGES):
            ends += _back_on_redis(messages, healed)
        found.append(Episode(faults=faults, kinds=kinds, began=began, healed=healed, recovered=max(ends)))
    return found


def delays(records: Sequence[AnyRecord]) -> list[float]:
    """Return how long each message took from its acceptance to `main`, in seconds."""
    handled = _first_handled(records)
    return [max(0.0, handled[one.id] - one.at) for one in of(records, Accepted) if one.id in handled]


def _without_a_store(faults: Sequence[Struck]) -> list[tuple[float, float]]:
    """Return from when to when Redis was away and the disk was full; faults of one store never overlap."""
    return [
        (max(one.at, other.at), min(one.healed, other.healed))
        for one in faults
        if one.kind in OUTAGES
        for other in faults
        if other.kind == "full-disk" and max(one.at, other.at) < min(one.healed, other.healed)
    ]


def _outside(spans: Sequence[tuple[float, float]], began: float, ended: float) -> float:
    """Return how much of a time lies outside of some spans, in seconds."""
    inside = sum(max(0.0, min(ended, until) - max(began, since)) for since, until in spans)
    return ended - began - inside


def _first_handled(records: Sequence[AnyRecord]) -> dict[str, float]:
    first: dict[str, float] = {}
    for record in of(records, Handled):
        first[record.id] = min(record.at, first.get(record.id, record.at))
    return first


def _back_on_redis(messages: Sequence[Accepted], healed: float) -> list[float]:
    """Return when each sender had a message on Redis again, if it sent any more."""
    regular = {one.sender for one in messages if not one.older} - {INJECTOR}
    back: dict[str, float] = {}
    for message in messages:
        if message.where == "redis" and message.at > healed and message.sender in regular:
            back[message.sender] = min(message.at, back.get(message.sender, message.at))
    return list(back.values())
