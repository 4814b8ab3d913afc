"""Let another type checker than mypy look at every public name of the installed package: is its type written?

Public is what the packages named below export, and what its classes hold under names without an underscore. A
parameter whose type is written, and is a class of ours that is not public, counts as known: nobody names what
that class holds.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from check_wheel import CheckFailed, export_tree, run, uv

VERIFIER = "basedpyright>=1.31,<2"
PACKAGES = (
    "botvisor",
    "botvisor.errors",
    "botvisor.testing",
    "botvisor.testing.redis_server",
    "botvisor.compat",
    "botvisor.compat.redis_client",
    "botvisor.compat.redis_admin_migration",
    "botvisor.compat.redis_heartbeat_migration",
    "botvisor.compat.redis_identity_migration",
)
# Prints where each public name is defined.
ASK = """
import importlib, sys
for package in map(importlib.import_module, sys.argv[1:]):
    for name, value in vars(package).items():
        home = str(getattr(value, "__module__", ""))
        # A package is there for what it imports; what a module imports is its own affair.
        ours = "botvisor" if hasattr(package, "__path__") else package.__name__
        if not name.startswith("_") and home.startswith(ours):
            print(f"{home}.{getattr(value, '__qualname__', name)}")
"""
# What is said of a type that is written, and has something inside that is not.
INSIDE = re.compile(r'(parameter "\w+"|Return type|base class "botvisor\.[\w.]+") is partially unknown')


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="botvisor-types-") as folder:
        place = Path(folder).resolve()
        try:
            programs = install(place)
            public = tuple(run(str(programs / "python"), "-c", ASK, *PACKAGES, cwd=place).split())
            seen = [symbol for symbol in verify(programs, place) if is_of(symbol["name"], public)]
        except CheckFailed as failure:
            print(failure)
            return 1
    # Should the verifier have another way to say things one day, this must not pass for want of names.
    if missing := {name for name in public if name not in {symbol["name"] for symbol in seen}}:
        print("the verifier says nothing of", *sorted(missing))
        return 1
    unknown = {symbol["name"]: faults for symbol in seen if (faults := faults_of(symbol))}
    for name, faults in sorted(unknown.items()):
        print(name, *faults, sep="\n  ")
    known = len(seen) - len(unknown)
    print(f"{known} of {len(seen)} public names have types that are written: {known / len(seen):.2%}")
    return 1 if unknown else 0


def install(place: Path) -> Path:
    """Install the tree as users do, and the verifier beside it; returns the folder of their programs."""
    export_tree(place / "source")
    python = str(place / "venv" / "bin" / "python")
    uv("venv", "--python", sys.executable, str(place / "venv"), cwd=place)
    uv("pip", "install", "--python", python, str(place / "source"), VERIFIER, cwd=place)
    return place / "venv" / "bin"


def verify(programs: Path, place: Path) -> list[dict[str, Any]]:
    """Return what the verifier says of each symbol: its name, and its diagnostics."""
    result = subprocess.run(
        [programs / "basedpyright", "--verifytypes", "botvisor", "--ignoreexternal", "--outputjson"],
        cwd=place,
        # It looks at the packages of the first Python on the path.
        env=os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    try:
        return list(json.loads(result.stdout)["typeCompleteness"]["symbols"])
    except (ValueError, KeyError):
        raise CheckFailed(f"{VERIFIER} did not run:\n{result.stdout}{result.stderr}") from None


def is_of(symbol: str, public: tuple[str, ...]) -> bool:
    return any(symbol == name or symbol.startswith(f"{name}.") for name in public)


def faults_of(symbol: dict[str, Any]) -> list[str]:
    messages = [str(diagnostic["message"]) for diagnostic in symbol["diagnostics"]]
    return [text for text in messages if not (INSIDE.search(text) and "Unknown" not in text)]


if __name__ == "__main__":
    sys.exit(main())
