"""Find an installed Python by its version: python scripts/pythons.py 3.13 prints the path of one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Those that botvisor is for. The classifiers in pyproject.toml name those that the tests have passed on.
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
# Some systems ship a Python that cannot make a virtual environment.
PROBE = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"


def find(version: str) -> str | None:
    """Return the path of a Python of this minor version, or None: on the PATH, else the newest of pyenv's."""
    return next((path for path in candidates(version) if answers(path) == version), None)


def candidates(version: str) -> Iterator[str]:
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        yield str(Path(folder, f"python{version}"))
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    for path in sorted(pyenv.glob(f"{version}.*"), key=patch, reverse=True):
        yield str(path / "bin" / "python")


def patch(version: Path) -> int:
    """Return the last number of a version; -1 for 3.13.0t and the like, which are other builds."""
    number = version.name.rpartition(".")[2]
    return int(number) if number.isdigit() else -1


def answers(path: str) -> str:
    try:
        return subprocess.run([path, "-c", PROBE], capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


if __name__ == "__main__":
    path = find(sys.argv[1])
    if path is None:
        sys.exit(f"neither the PATH nor pyenv has a Python {sys.argv[1]} that can make virtual environments")
    print(path)
