"""Run the static checks and try the wheel; ./scripts/check makes the environment and calls this."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
LINES_AT_MOST = 300
FOLDERS = ("runtime", "actors", "config", "tests")
# Where a strict editable install keeps its links, and the folders they lead to.
LINKS = re.compile(r"build/__editable__[^/]*/botvisor/(?:(actors|config)/)?")


def lint() -> bool:
    """Ruff's rules, as pyproject.toml has them."""
    return ran("-m", "ruff", "check", ".")


def format() -> bool:  # noqa: A001 - the steps are named after what they check
    """Ruff's layout; `ruff format` repairs it."""
    return ran("-m", "ruff", "format", "--check", ".")


def types() -> bool:
    """Mypy, strict, on botvisor as it is installed."""
    return ran("-m", "mypy", "--strict", "-p", "botvisor")


def typing() -> bool:
    """Mypy on tests/typing, which is what users' type checkers see, and on the soak."""
    return ran("-m", "mypy", "--strict", "tests/typing") and ran("-m", "mypy", "--strict", "scripts/soaking")


def public() -> bool:
    """Every public name has types that are written, for a type checker that is not mypy."""
    return ran(str(ROOT / "scripts" / "check_public_types.py"))


def layers() -> bool:
    """Imports go one way: the contracts are in pyproject.toml."""
    return ran(str(BIN / "lint-imports"), "--no-logo")


def length() -> bool:
    """No source or test file is longer than 300 lines."""
    fits = True
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            lines = len(file.read_text().splitlines())
            if lines > LINES_AT_MOST:
                fits = False
                print(
                    f"{file.relative_to(ROOT)} has {lines} lines, {LINES_AT_MOST} at most: split it by noun"
                )
    return fits


def site() -> bool:
    """The documentation builds; a link that leads nowhere is an error."""
    os.environ["NO_MKDOCS_2_WARNING"] = "1"  # the theme's news about another program
    return ran("-m", "mkdocs", "build", "--strict")


def wheel() -> bool:
    """Build the release files from a clean export and try the wheel beside a bot's own modules."""
    return ran(str(ROOT / "scripts" / "check_wheel.py"))


STEPS: dict[str, Callable[[], bool]] = {
    step.__name__: step for step in (lint, format, types, typing, public, layers, length, site, wheel)
}


def main() -> int:
    names = "\n".join(f"  {name:8} {step.__doc__}" for name, step in STEPS.items())
    parser = argparse.ArgumentParser(
        prog="./scripts/check",
        description=f"Runs the steps named, or all of them:\n\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("step", nargs="*", help="such as: types layers")
    chosen = parser.parse_args().step or list(STEPS)
    if unknown := set(chosen) - STEPS.keys():
        parser.error(f"no such step: {', '.join(sorted(unknown))}")

    verdicts = {}
    for name in chosen:
        print(f"== {name}: {STEPS[name].__doc__}", flush=True)
        started = time.monotonic()
        passed = STEPS[name]()
        verdicts[name] = f"{'ok' if passed else 'FAILED':6} {time.monotonic() - started:5.1f} s"
        print(f"   {verdicts[name]}\n", flush=True)

    print("== summary")
    for name, verdict in verdicts.items():
        print(f"   {name:8} {verdict}")
    return int(any("FAILED" in verdict for verdict in verdicts.values()))


def ran(*arguments: str) -> bool:
    """Run a Python program at the root, show what it said with the repository's own paths."""
    # A program of ours imports what is beside it; the root is on no path.
    safe = ["-P"] if arguments[0] == "-m" else []
    result = subprocess.run(
        [sys.executable, *safe, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(LINKS.sub(lambda link: f"{link[1] or 'runtime'}/", result.stdout), end="", flush=True)
    return result.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
