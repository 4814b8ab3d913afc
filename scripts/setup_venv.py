"""Make or reuse the repository's virtual environment: python scripts/setup_venv.py EXTENT.

run: .venv with botvisor and what it needs. dev: the tools of the tests and checks too.
lowest: .venv-lowest with the lowest versions that pyproject.toml allows, to run the tests on.
bench: .venv-bench with what botvisor is measured beside.
pipecat: .venv-pipecat with the tests' tools and Pipecat, which takes half a gigabyte.
python: .venv-3.13, or what the version of the Python is that runs this, with the tests' tools.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
lock_file = Path(__file__).open()  # noqa: SIM115 - held until the process ends
PACKAGE_FOLDERS = ("runtime", "actors", "config")
STATE_FILE = "setup-state.json"
INSTALL_OPTIONS = {
    "run": [],
    "dev": ["--group", "dev"],
    "lowest": ["--group", "test", "--resolution", "lowest-direct"],
    "bench": [],
    "pipecat": ["--group", "test", "--group", "pipecat"],
    "python": ["--group", "test"],
}
FOLDERS = {extent: f".venv-{extent}" for extent in ("lowest", "bench", "pipecat")}
FOLDERS["python"] = f".venv-{sys.version_info.major}.{sys.version_info.minor}"
# A new minor version behind the old link no longer sees what was installed, uv included.
PROBE = """
import sys
from importlib.util import find_spec
print(sys.version, sys.base_prefix, find_spec("uv") is not None)
"""
# Settings for other installs than this one.
FOREIGN_VARIABLES = {"PIP_PREFIX", "PIP_TARGET", "UV_PYTHON", "UV_SYSTEM_PYTHON"}


class SetupFailed(Exception):
    """A step of the set-up failed; what it printed says why."""


class Venv:
    """One virtual environment, and what this program remembers about it."""

    def __init__(self, extent: str) -> None:
        self.extent = extent
        self.path = ROOT / FOLDERS.get(extent, ".venv")
        self.python = str(self.path / "bin" / "python")
        self.uv_install = [self.python, "-m", "uv", "pip", "install", "-q", "--python", self.python]
        self.inputs = {"pyproject": pyproject_digest(), "files": files_digest()}

    def state(self) -> dict[str, str]:
        try:
            return dict(json.loads((self.path / STATE_FILE).read_text()))
        except (OSError, ValueError):
            return {}

    def remember(self, progress: str) -> None:
        """Record how far the set-up came; an interrupted one is left at ``busy``."""
        state = {"progress": progress, "place": str(self.path), "extent": self.extent, **self.inputs}
        new = self.path / f"{STATE_FILE}.new"
        new.write_text(json.dumps(state))
        new.replace(self.path / STATE_FILE)

    def is_ready(self) -> bool:
        state = self.state()
        return (
            state.get("progress") == "ready"
            and state["extent"] in (self.extent, "dev")
            and self.inputs.items() <= state.items()
            and editable_links_exist()
            and self.is_usable()
        )

    def is_usable(self) -> bool:
        """Tell whether installing into it is enough, or whether it has to be made anew."""
        state = self.state()
        if state and (state["progress"] == "busy" or state["place"] != str(self.path)):
            return False
        *version, has_uv = probe(self.python)
        wanted = probe(base_python())[:-1] if os.environ.get("PYTHON") else version
        return has_uv == "True" and version == wanted


def main() -> int:
    extent = sys.argv[1]
    if Venv(extent).is_ready():
        return 0
    take_lock()
    venv = Venv(extent)
    if venv.is_ready():  # another run made it while this one waited
        return 0
    started = time.monotonic()
    try:
        make(venv)
    except SetupFailed as failure:
        say(f"setting up {venv.path.name} failed: {failure}")
        return 1
    say(f"{venv.path.name} is ready after {time.monotonic() - started:.0f} s")
    return 0


def make(venv: Venv) -> None:
    before = venv.state()
    if venv.is_usable():
        say(f"updating {venv.path.name}…")
        if before.get("extent") == "dev":
            venv.extent = "dev"
        venv.remember("busy")
    else:
        say(f"setting up {venv.path.name} (first run, about 20 s)…")
        create(venv)
        before = {}
    same = {"progress": "ready", "extent": venv.extent, "pyproject": venv.inputs["pyproject"]}
    try:
        if same.items() <= before.items():
            link_files(venv)
        else:
            install(venv)
    except SetupFailed:
        venv.remember("failed")  # nothing is half-made: the next run tries again in place
        raise
    venv.remember("ready")


def create(venv: Venv) -> None:
    """Make the empty environment, with nothing of an older or half-made one, and uv in it."""
    try:
        shutil.rmtree(venv.path, ignore_errors=True)
        venv.path.mkdir(exist_ok=True)
        (venv.path / ".gitignore").write_text("*\n")
        venv.remember("busy")
    except OSError as error:
        raise SetupFailed(f"cannot write there: {error}") from error
    run(base_python(), "-m", "venv", str(venv.path))
    run(venv.python, "-m", "pip", "install", "-qq", "uv")


def install(venv: Venv) -> None:
    """Install botvisor, what it needs, and what builds it."""
    builders = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    options = [*INSTALL_OPTIONS[venv.extent], *builders, "--editable", "."]
    try:
        run(*venv.uv_install, "--reinstall-package", "botvisor", *options)
    except SetupFailed:
        if venv.extent == "lowest":
            raise
        # pip has its own mirrors and certificates, and it was able to fetch uv.
        say("uv could not install the packages: trying pip, which takes longer…")
        pip = [venv.python, "-m", "pip", "install", "-qq"]
        run(*pip, "pip>=25.1")
        run(*pip, *options)
    if venv.extent == "bench":
        install_contenders(venv)


def install_contenders(venv: Venv) -> None:
    """Install what botvisor is measured beside, as far as it can be: what is missing is left out there."""
    contenders = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["bench"]
    try:
        run(*venv.uv_install, *contenders)
        return
    except SetupFailed:
        say("not all can be installed: trying one after the other…")
    for contender in contenders:
        try:
            run(venv.python, "-m", "pip", "install", "-qq", contender)
        except SetupFailed:
            say(f"{contender} cannot be installed here: the benchmarks do without it")


def link_files(venv: Venv) -> None:
    """Install botvisor anew because files came or went; this needs no network."""
    run(*venv.uv_install, "--no-deps", "--no-build-isolation", "--reinstall-package", "botvisor", "-e", ".")


def run(*command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}
    environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0"}
    environment.setdefault("UV_LINK_MODE", "copy")  # a cache on another disk is no reason to warn
    environment.setdefault("UV_COMPILE_BYTECODE", "1")  # pays at every later start
    # The child holds the lock too: should this process be killed, the next one waits for the child.
    result = subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, pass_fds=[lock_file.fileno()]
    )
    if result.returncode != 0:
        raise SetupFailed(" ".join(command))


def pyproject_digest() -> str:
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()


def files_digest() -> str:
    """Digest the names of the packages' files: a strict editable install links each of them."""
    digest = hashlib.sha256()
    for folder in PACKAGE_FOLDERS:
        for file in sorted((ROOT / folder).rglob("*")):
            if file.is_file() and file.suffix != ".pyc" and not file.name.startswith("."):
                digest.update(str(file.relative_to(ROOT)).encode() + b"\0")
    return digest.hexdigest()


def editable_links_exist() -> bool:
    return any(ROOT.glob("build/__editable__.botvisor-*/botvisor/__init__.py"))


def base_python() -> str:
    """Return the Python behind this one, should this one live in the folder that is made anew."""
    return str(getattr(sys, "_base_executable", "") or sys.executable)


def probe(python: str) -> list[str]:
    try:
        result = subprocess.run([python, "-c", PROBE], capture_output=True, text=True)
    except OSError:
        return [""]
    return result.stdout.split() or [""]


def take_lock() -> None:
    """Let one set-up run at a time; the kernel frees the lock with the last process that holds it."""
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting for another set-up of this folder…")
        fcntl.flock(lock_file, fcntl.LOCK_EX)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
