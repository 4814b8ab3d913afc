"""The result of a run: as JSON, and in words."""

from __future__ import annotations

import os
import platform
from collections import Counter, defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from botvisor.testing.redis_programs import version_of

from .cast import cast
from .place import Facts
from .records import Accepted, AnyRecord, Clock, Handled, Struck
from .schedule import draw
from .sightings import sightings
from .spans import Episode, delays, episodes, failovers, percentile
from .verdict import Verdict, judge, of

VERSION = 1
FAILOVER_AIM_S = 3.0
RECOVERY_AIM_S = 20.0
_FALSE_NAMED = 20


def versions(server: Path) -> dict[str, str]:
    """Return what a run runs on.

    Args:
        server: the server's program.
    """
    kind, number = version_of(server)
    return {
        "python": platform.python_version(),
        "server": f"{kind} {number}",
        **{name: version(name) for name in ("botvisor", "anyio", "hiredis", "msgspec", "redis")},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": str(os.cpu_count()),
    }


def result_of(facts: Facts, records: Sequence[AnyRecord]) -> dict[str, Any]:
    """Return what there is to tell of a run, as JSON will have it. Times are seconds after the start."""
    clock = next(iter(of(records, Clock)), Clock(at=0.0, wall=0.0))
    verdict = judge(records, facts.options, cast(facts.options))
    rows = episodes(records)
    held = failovers(records)
    watched = sightings(records)
    waits = delays(records)
    return {
        "v": VERSION,
        "program": "./scripts/soak",
        "started_at": facts.started_at,
        "seed": facts.options.seed,
        "settings": msgspec.to_builtins(facts.options),
        "versions": facts.versions,
        "skipped": facts.skipped,
        "exit_code": verdict.exit_code,
        "verdict": _counts(verdict),
        "failover_s": _spread(held.values()),
        "recovery_s": _spread(row.recovery_s for row in rows),
        "delay_s": _spread(waits),
        "failover_s_by_kind": _by_kind(records, held),
        "recovery_s_by_kind": _by_single_kind(rows),
        "false_dead": len(watched.false),
        "observer": {
            "looks": watched.looks,
            "failed": watched.failed,
            "seen": watched.seen,
            "while_away": len(watched.while_away),
            "false": msgspec.to_builtins((watched.false + watched.while_away)[:_FALSE_NAMED]),
        },
        "aims": {
            "failover_p99": _within(percentile(held.values(), 0.99), FAILOVER_AIM_S),
            "recovery_p99": _within(percentile((row.recovery_s for row in rows), 0.99), RECOVERY_AIM_S),
            "false_dead": not watched.false,
        },
        "planned": len(draw(facts.options)),
        "faults": _faults(records, held, rows, clock.at),
        "episodes": [
            {
                "faults": row.faults,
                "kinds": row.kinds,
                "at_s": round(row.began - clock.at, 3),
                "healed_s": round(row.healed - clock.at, 3),
                "recovery_s": round(row.recovery_s, 3),
            }
            for row in rows
        ],
        "timeline": _timeline(records, clock.at),
        "findings": msgspec.to_builtins(verdict.findings),
    }


def in_words(result: dict[str, Any]) -> str:
    """Return the result for a reader."""
    verdict, observer = result["verdict"], result["observer"]
    kinds = Counter(fault["kind"] for fault in result["faults"])
    struck = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none"
    lines = [
        f"seed {result['seed']}, {result['settings']['persistence']}, {result['versions']['server']}",
        f"faults          {struck}",
        *(f"                no {kind}: {why}" for kind, why in result["skipped"].items()),
        f"sent            {verdict['sent']} accepted, {verdict['refused']} calls refused",
        f"handled         {verdict['handled']}, {verdict['unacknowledged']} of them never acknowledged",
        f"lost            {verdict['lost']}, and {verdict['lost_unpromised']} that nobody promised to keep",
        f"came again      {verdict['duplicated']}; {verdict['redelivered']} deliveries were marked",
        f"unmarked        {verdict['unmarked']}",
        f"misdelivered    {verdict['misdelivered']}",
        f"dead letters    {verdict['dead']}",
        f"still waiting   {verdict['waiting']}",
        f"fail-over       {_told(result['failover_s'])} (aim: p99 {FAILOVER_AIM_S:g} s)",
        f"recovery        {_told(result['recovery_s'])} (aim: p99 {RECOVERY_AIM_S:g} s)",
        f"delay           {_told(result['delay_s'])}",
        f"false deaths    {result['false_dead']} in {observer['seen']} sightings (aim: 0)",
        f"                {observer['while_away']} more while the observer said that Redis is away",
    ]
    lines += [f"ended by itself {each['name']} with {each['code']}" for each in verdict["ended"]]
    for sort, findings in result["findings"].items():
        lines += [f"{sort}: {msgspec.json.encode(each).decode()}" for each in findings[:5]]
    return "\n".join(lines)


def _counts(verdict: Verdict) -> dict[str, Any]:
    counts: dict[str, Any] = msgspec.to_builtins(verdict)
    del counts["findings"]
    return counts


def _faults(
    records: Sequence[AnyRecord], held: dict[int, float], rows: Sequence[Episode], start: float
) -> list[dict[str, Any]]:
    last = {row.faults[-1]: row for row in rows}
    return [
        {
            "number": fault.number,
            "kind": fault.kind,
            "target": fault.target,
            "how": fault.how,
            "planned_s": round(fault.planned - start, 3),
            "at_s": round(fault.at - start, 3),
            "healed_s": round(fault.healed - start, 3),
            "failover_s": round(held[fault.number], 3) if fault.number in held else None,
            # None: the next fault came before everything had recovered; that one's tells for both
            "recovery_s": round(last[fault.number].recovery_s, 3) if fault.number in last else None,
        }
        for fault in sorted(of(records, Struck), key=lambda each: each.number)
    ]


def _timeline(records: Sequence[AnyRecord], start: float) -> dict[str, list[int]]:
    """Return how many messages were accepted and how many deliveries began in each second."""
    sent = Counter(int(one.at - start) for one in of(records, Accepted) if one.at >= start)
    handled = Counter(int(one.at - start) for one in of(records, Handled) if one.at >= start)
    seconds = range(max([-1, *sent, *handled]) + 1)
    return {"sent": [sent[each] for each in seconds], "handled": [handled[each] for each in seconds]}


def _by_kind(records: Sequence[AnyRecord], held: dict[int, float]) -> dict[str, Any]:
    found: dict[str, list[float]] = defaultdict(list)
    for fault in of(records, Struck):
        if fault.number in held:
            found[fault.kind].append(held[fault.number])
    return {kind: _spread(values) for kind, values in sorted(found.items())}


def _by_single_kind(rows: Sequence[Episode]) -> dict[str, Any]:
    """Return the recovery from episodes of one kind of fault."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if len(row.kinds) == 1:
            found[row.kinds[0]].append(row.recovery_s)
    return {kind: _spread(values) for kind, values in sorted(found.items())}


def _spread(values: Any) -> dict[str, float | int | None]:
    ranked = sorted(values)
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    found = {name: percentile(ranked, share) for name, share in shares.items()}
    return {
        "count": len(ranked),
        **{name: None if value is None else round(value, 3) for name, value in found.items()},
    }


def _within(value: float | None, aim_s: float) -> bool | None:
    return None if value is None else value <= aim_s


def _told(spread: dict[str, Any]) -> str:
    if not spread["count"]:
        return "nothing to measure"
    return f"p50 {spread['p50']:.2f} s, p99 {spread['p99']:.2f} s, at most {spread['max']:.2f} s"
