"""What a run is asked for on the command line."""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

Persistence = Literal["aof", "everysec", "rdb", "none"]

LEAST_SECONDS = 5.0
PER_SECOND = 15  # messages, of all senders
PER_MINUTE = {
    "redis_kills": 3,
    "hangs": 2,
    "resets": 6,
    "bot_kills": 4,
    "actor_crashes": 2,
    "full_disks": 1,
}

TEXT = """\
Bots and senders run as processes of their own on a private Redis, while faults strike that a seed has drawn.
Each bot writes down every message before it asks for the next one, each sender what was accepted; both sync
it to the disk. From these ledgers alone comes the verdict: what was lost, what came twice, and was it marked.

  ./scripts/soak                              a minute of everything
  ./scripts/soak --seed 7 --json result.json  the same faults at the same moments, whenever you ask
  ./scripts/soak --persistence none           Redis keeps nothing: every message is sent durable=True
  ./scripts/soak --seconds 600 --messages 10000 --redis-kills 20 --bot-kills 20 --resets 50 --hangs 10
  ./scripts/soak --judge FOLDER               the verdict again, from a folder that was kept
"""

CODES = """\
exit codes:
    0  what is promised was kept: nothing lost, nothing repeated unmarked
    1  a message was lost that was promised to be kept
    2  the command line is wrong
    3  a message reached main twice without a mark
    4  messages still waited when the time for them was over
    5  the run failed: no Redis server, or a bot or a sender ended by itself; the text says which
    6  a message reached a bot that it was not for
  130  it was interrupted
Where several hold, the first of 1, 3, 6, 4, 5. With everysec and rdb, and for the older sender with none,
nothing is promised when Redis is killed: what was lost there is counted apart, as lost_unpromised.
"""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What decides how a run goes. The same options draw the same faults and the same messages."""

    seed: int
    seconds: float = 60.0
    messages: int = 900
    bots: int = 4
    senders: int = 3
    older_senders: int = 1
    persistence: Persistence = "aof"
    redis_kills: int = 0
    hangs: int = 0
    resets: int = 0
    bot_kills: int = 0
    actor_crashes: int = 0
    full_disks: int = 0
    patience: float = 120.0

    @property
    def durable(self) -> bool:
        """Whether senders ask for durable messages."""
        return self.persistence == "none"


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done with a run's result."""

    options: Options
    judge: Path | None = None
    json: str | None = None
    plot: Path | None = None
    keep: bool = False


def parse(arguments: Sequence[str] | None = None) -> Wishes:
    """Read the command line.

    Raises:
        SystemExit: with 2 when it is wrong, with 0 after the help.
    """
    parser = argparse.ArgumentParser(
        prog="./scripts/soak",
        description=TEXT,
        epilog=CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--seed", type=int, metavar="N", help="draws faults and messages; printed always (default: at random)"
    )
    add("--seconds", type=float, default=60.0, metavar="S", help="for how long faults strike (default: 60)")
    add(
        "--messages",
        type=_count,
        metavar="N",
        help=f"how many are sent (default: {PER_SECOND} for each second)",
    )
    add(
        "--persistence",
        choices=["aof", "everysec", "rdb", "none"],
        default="aof",
        help="what Redis keeps: aof syncs each write, everysec once a second, rdb is a snapshot every ten "
        "seconds; none keeps nothing, and messages are sent with durable=True (default: aof)",
    )
    add("--bots", type=_count, default=4, metavar="N", help="half of them share a room (default: 4)")
    add("--senders", type=_count, default=3, metavar="N", help="with botvisor's client (default: 3)")
    add("--older-senders", type=_count, default=1, metavar="N", help="with redis-py (default: 1)")
    faults = parser.add_argument_group("faults", "how many of each; 0 is none. Default: so many a minute.")
    for name, help_text in {
        "redis_kills": "kill -9 of Redis, and a start on what it kept",
        "hangs": "SIGSTOP of Redis, and SIGCONT",
        "resets": "connections cut with a RST or by CLIENT KILL; replies lost",
        "bot_kills": "kill -9 of a bot, and a successor; with the same id if it was given one",
        "actor_crashes": "an actor of a bot crashes, or is restarted by an operator",
        "full_disks": "the disk of the spool is full; as root on Linux alone",
    }.items():
        flag = f"--{name.replace('_', '-')}"
        faults.add_argument(flag, type=_count, metavar="N", help=f"{help_text} ({PER_MINUTE[name]})")
    add(
        "--patience",
        type=float,
        default=120.0,
        metavar="S",
        help="how long messages may take after the last fault (default: 120)",
    )
    add("--json", metavar="FILE", help="write the result there; - is standard output, and nothing else is")
    add("--plot", type=Path, metavar="FILE.png", help="draw the run's time line; needs matplotlib")
    add("--keep", action="store_true", help="keep the folder with ledgers and logs; kept always on a failure")
    add("--judge", type=Path, metavar="FOLDER", help="run nothing: judge what a kept folder holds")
    given = vars(parser.parse_args(arguments))
    wishes = {name: given.pop(name) for name in ("judge", "json", "plot", "keep")}
    for name, least in {"seconds": LEAST_SECONDS, "bots": 2, "senders": 1, "patience": 1}.items():
        if not given[name] >= least:
            parser.error(f"--{name} is at least {least:g}")
    if given["seed"] is None:
        given["seed"] = random.SystemRandom().randrange(1_000_000)
    if given["messages"] is None:
        given["messages"] = round(PER_SECOND * given["seconds"])
    for name, rate in PER_MINUTE.items():
        if given[name] is None:
            given[name] = max(1, round(rate * given["seconds"] / 60))
    return Wishes(options=Options(**given), **wishes)


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise argparse.ArgumentTypeError(f"{count} is less than none")
    return count
