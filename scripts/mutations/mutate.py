"""Take one safeguard out at a time, in a copy, and run the tests that should miss it.

`removals.toml` names them: where, the text that goes and what stands there instead, and the tests. The copy
is put before the installed package, so that the tests' own processes get it, too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
REMOVALS = Path(__file__).with_name("removals.toml")
# Where each folder of the repository is in the package.
PLACES = {"runtime": ".", "actors": "actors", "config": "config"}
LIMIT_S = 180
FAILED = 1  # pytest's exit code for tests that failed: others say that they did not run


class Removal(NamedTuple):
    """One safeguard, and what shows that it is there.

    Args:
        name: what goes, in a few words.
        file: where, from the root of the repository.
        old: the text that goes; it stands there once.
        new: what stands there instead.
        tests: the tests that must fail then.
    """

    name: str
    file: str
    old: str
    new: str
    tests: list[str]


class Outcome(NamedTuple):
    """What the tests made of a removal."""

    name: str
    noticed: bool
    failed: list[str]
    seconds: float


def removals() -> list[Removal]:
    """Return all removals, in the order of the file."""
    return [Removal(**entry) for entry in tomllib.loads(REMOVALS.read_text())["removal"]]


def applied(removal: Removal, source: str) -> str:
    """Return a file's text without the safeguard.

    Raises:
        ValueError: when the text that goes is not there, or more than once.
    """
    if source.count(removal.old) != 1:
        raise ValueError(f"{removal.file} has the text of {removal.name!r} {source.count(removal.old)} times")
    return source.replace(removal.old, removal.new)


def copy_package(folder: Path, removal: Removal | None) -> None:
    """Write the package as it is imported, with or without a removal, into a folder."""
    for source, place in PLACES.items():
        leave_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / source, folder / "botvisor" / place, dirs_exist_ok=True, ignore=leave_out)
    if removal is not None:
        source, _, rest = removal.file.partition("/")
        file = folder / "botvisor" / PLACES[source] / rest
        file.write_text(applied(removal, file.read_text()))


def run_tests(folder: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Run tests against the package in a folder. Returns pytest's exit code, and what it said."""
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "--tb=line"]
    try:
        done = subprocess.run(
            [*command, *(f"tests/{test}" for test in tests)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return -1, f"no end after {LIMIT_S} s"
    return done.returncode, done.stdout + done.stderr


def try_removal(removal: Removal) -> Outcome:
    """Take a safeguard out of a copy, and run its tests."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="removal-") as folder:
        copy_package(Path(folder), removal)
        code, said = run_tests(Path(folder), removal.tests)
    failed = [line.split()[1] for line in said.splitlines() if line.startswith("FAILED ")]
    tests = [test for test in removal.tests if any(test in name for name in failed)]
    noticed = code == FAILED and len(tests) == len(removal.tests)
    if code != FAILED and code != 0:
        print(said, file=sys.stderr)
    return Outcome(removal.name, noticed, sorted(set(tests)), time.monotonic() - began)


def without_removals(chosen: Sequence[Removal]) -> bool:
    """Return whether the tests pass as long as nothing is taken out."""
    with tempfile.TemporaryDirectory(prefix="removal-") as folder:
        copy_package(Path(folder), None)
        code, said = run_tests(Path(folder), sorted({test for each in chosen for test in each.tests}))
    if code:
        print(said, file=sys.stderr)
    return code == 0


def main() -> int:
    """Run the check; the exit code is 0 when every removal was noticed by each test named for it."""
    parser = argparse.ArgumentParser(prog="./scripts/mutate", description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="only removals whose name holds one of these")
    parser.add_argument("--list", action="store_true", help="only name the removals and their tests")
    parser.add_argument("--json", action="store_true", help="one JSON document in place of lines")
    options = parser.parse_args()
    chosen = [
        each for each in removals() if not options.words or any(word in each.name for word in options.words)
    ]
    if not chosen:
        parser.error("no removal has such a name: --list shows them")
    if options.list:
        for each in chosen:
            print(f"{each.name}\n    {each.file}", *each.tests, sep="\n    ")
        return 0
    say = sys.stderr if options.json else sys.stdout
    print(f"The tests of {len(chosen)} safeguards, with nothing taken out", file=say, flush=True)
    if not without_removals(chosen):
        print("They fail as it is: mend that first.", file=sys.stderr)
        return 2
    outcomes = []
    for each in chosen:
        outcome = try_removal(each)
        outcomes.append(outcome)
        state = "noticed" if outcome.noticed else "NOT NOTICED"
        print(f"{state:<12}{each.name} ({outcome.seconds:.0f} s)", file=say, flush=True)
        for test in each.tests:
            print(f"{'':<12}{'' if test in outcome.failed else 'passes: '}{test}", file=say, flush=True)
    if options.json:
        json.dump([outcome._asdict() for outcome in outcomes], sys.stdout, indent=2)
        print()
    return 0 if all(outcome.noticed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
