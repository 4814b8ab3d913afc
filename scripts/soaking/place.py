"""The folder of a run: what lies where, and the environment that the run's processes get."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from .ledger import read
from .options import Options
from .records import AnyRecord

_FOREIGN = ("BOT_", "REDIS_", "USE_REDIS", "KUBERNETES_", "NOTIFY_SOCKET", "WATCHDOG_")


class Place:
    """A run's folder.

    Args:
        folder: it; it need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledgers = folder / "ledgers"
        self.logs = folder / "logs"
        self.redis = folder / "redis"
        self.store = folder / "store"  # botvisor's own files; a small disk may be mounted there
        self.facts = folder / "facts.json"

    def make(self) -> None:
        """Make it, for its owner alone."""
        for each in (self.folder, self.ledgers, self.logs, self.store):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)

    def ledger(self, name: str) -> Path:
        """Return where the ledger of this process is."""
        return self.ledgers / f"{name}.jsonl"

    def records(self) -> list[AnyRecord]:
        """Read all ledgers."""
        return list(read(sorted(self.ledgers.glob("*.jsonl"))))

    def environment(self, redis_url: str) -> dict[str, str]:
        """Return the environment of the run's processes, with nothing of this shell's settings for bots."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        places = {
            f"BOT_{name.upper()}_DIR": str(self.store / name)
            for name in ("admin_message", "heartbeat", "identity")
        }
        return {
            **kept,
            **places,
            "USE_REDIS": "true",
            "REDIS_URL": redis_url,
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "NO_COLOR": "1",
            "LOGURU_LEVEL": "INFO",
        }


class Facts(msgspec.Struct, kw_only=True):
    """What a kept folder tells beside its ledgers."""

    options: Options
    versions: dict[str, str]
    skipped: dict[str, str]
    started_at: str


def write_facts(place: Place, facts: Facts) -> None:
    """Write the facts, which the run's own processes read as well."""
    place.facts.write_bytes(msgspec.json.format(msgspec.json.encode(facts), indent=2))


def read_facts(place: Place) -> Facts:
    """Read the facts.

    Raises:
        FileNotFoundError: when this is no folder of a run.
    """
    return msgspec.json.decode(place.facts.read_bytes(), type=Facts)


def named() -> tuple[Place, Facts, str]:
    """Return the run's folder, its facts, and the name of this process: its two arguments."""
    folder, name = sys.argv[1:]
    place = Place(Path(folder))
    return place, read_facts(place), name
