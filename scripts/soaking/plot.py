"""The time line of a run as a picture."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

HOW_TO_GET_IT = (
    "no picture: matplotlib is missing. Install it with `.venv/bin/python -m pip install matplotlib`, "
    "and draw what was kept with `./scripts/soak --judge FOLDER --plot FILE.png`"
)

_COLOURS = {
    "redis-kill": "#c0392b",
    "hang": "#e67e22",
    "reset": "#8e9aa6",
    "bot-kill": "#2c3e8f",
    "actor-crash": "#16a085",
    "full-disk": "#8e44ad",
}


def can_draw() -> bool:
    """Return whether there is what it takes."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_timeline(result: dict[str, Any], path: Path) -> None:
    """Draw messages a second, each fault, and how long callers were held up and messages waited for recovery.

    Args:
        result: what `result_of` returned.
        path: where to write the PNG.
    """
    import matplotlib  # type: ignore[import-not-found,unused-ignore]  # optional

    matplotlib.use("agg")
    from matplotlib import pyplot

    timeline, faults = result["timeline"], result["faults"]
    figure, (rates, rows) = pyplot.subplots(
        2, 1, figsize=(11, 5.2), sharex=True, height_ratios=(3, 2), layout="constrained"
    )
    rates.plot(timeline["handled"], color="#2980b9", linewidth=0.9, label="handled")
    rates.plot(timeline["sent"], color="#27ae60", linewidth=0.9, label="accepted")
    for number, episode in enumerate(result["episodes"]):
        end = episode["healed_s"] + episode["recovery_s"]
        label = "until all had recovered" if number == 0 else None
        rates.axvspan(episode["at_s"], end, color="#f4d03f", alpha=0.25, linewidth=0, label=label)
    rates.set_ylabel("messages a second")
    rates.set_ylim(bottom=0)
    rates.legend(loc="upper right", fontsize="small", ncols=3)
    kinds = [kind for kind in _COLOURS if any(fault["kind"] == kind for fault in faults)]
    for row, kind in enumerate(kinds):
        struck = [fault for fault in faults if fault["kind"] == kind]
        at = [fault["at_s"] for fault in struck]
        lasting = [max(fault["healed_s"] - fault["at_s"], 0) for fault in struck]
        held = [fault["failover_s"] or 0 for fault in struck]
        rows.barh([row] * len(at), lasting, left=at, height=0.6, color=_COLOURS[kind], alpha=0.35)
        rows.barh([row] * len(at), held, left=at, height=0.25, color="black")
        rows.plot(at, [row] * len(at), "|", markersize=11, color=_COLOURS[kind])
    rows.set_yticks(range(len(kinds)), kinds)
    rows.invert_yaxis()
    rows.set_xlabel("seconds; pale: the fault lasts, black: the longest that it held a sender up")
    verdict = result["verdict"]
    figure.suptitle(
        f"{verdict['sent']:,} messages, {len(faults)} faults, {result['settings']['persistence']}, "
        f"seed {result['seed']}: {verdict['lost']} lost, {verdict['unmarked']} repeated unmarked",
        fontsize="medium",
    )
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
