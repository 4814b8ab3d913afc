"""Run a soak, or judge one: `./scripts/soak --help`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
import msgspec
from loguru import logger

from botvisor.errors import collapse
from botvisor.testing.redis_programs import NoServer
from botvisor.testing.redis_server import ServerEnded

from .disk import enter_private_mounts
from .options import Wishes, parse
from .place import Place, read_facts
from .plot import HOW_TO_GET_IT, can_draw, draw_timeline
from .progress import Progress
from .result import in_words, result_of
from .run import Run, RunFailed

FAILED = 5
INTERRUPTED = 130


def main() -> int:
    """Return the exit code."""
    wishes = parse()
    if wishes.judge is not None:
        return judge_again(wishes, wishes.judge)
    if wishes.options.full_disks:
        enter_private_mounts()
    logger.remove()
    place = Place(Path(tempfile.mkdtemp(prefix="botvisor-soak-")))
    place.make()
    if wishes.options.persistence not in ("aof", "none"):
        say("nothing is promised under this persistence when Redis is killed: the run shows what is lost")
    say(f"seed {wishes.options.seed}; the run is in {place.folder}")
    code = soak(wishes, place)
    if code == 0 and not wishes.keep:
        shutil.rmtree(place.folder, ignore_errors=True)
    else:
        say(f"ledgers and logs are kept in {place.folder}")
    return code


def soak(wishes: Wishes, place: Place) -> int:
    """Run, and tell the result; return the exit code."""
    with Progress(wishes.options.seconds) as progress:
        run = Run(place, wishes.options, progress)
        run.keep_disk = True
        try:
            logger.add(place.logs / "run.log", level="INFO")
            anyio.run(run.run)
        except KeyboardInterrupt:
            return INTERRUPTED
        except Exception as error:
            problem = collapse(error)
            known = isinstance(problem, RunFailed | NoServer | ServerEnded)
            say(f"the run failed: {problem if known else repr(problem)}")
            logger.opt(exception=error).error("the run failed")
            return FAILED
    return tell(wishes, result_of(read_facts(place), place.records()))


def judge_again(wishes: Wishes, folder: Path) -> int:
    """Judge what a kept folder holds; return the exit code."""
    place = Place(folder)
    try:
        facts = read_facts(place)
        records = place.records()
    except (OSError, msgspec.DecodeError) as error:
        say(f"{folder} is no folder of a run: {error}")
        return FAILED
    return tell(wishes, result_of(facts, records))


def tell(wishes: Wishes, result: dict[str, Any]) -> int:
    """Write the result wherever it is wanted; return the exit code."""
    document = msgspec.json.encode(result)
    if wishes.json == "-":
        print(document.decode(), flush=True)
    else:
        print(in_words(result), flush=True)
        if wishes.json is not None:
            Path(wishes.json).write_bytes(document + b"\n")
    if wishes.plot is not None:
        if can_draw():
            draw_timeline(result, wishes.plot)
        else:
            say(HOW_TO_GET_IT)
    return int(result["exit_code"])


def say(text: str) -> None:
    """Tell something that is no part of the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
