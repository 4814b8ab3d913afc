"""A private Redis or Valkey server: on loopback, ended with the test or the demo that started it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from .held_port import HeldPort
from .redis_programs import find_server

LIMIT_S = 20.0


class ServerEnded(AssertionError):
    """A server ended by itself; the text is the end of its log."""


class RedisServer:
    """One server process. Start it with `start`; whatever happens, `close` ends it.

    Its port stays its own until then, also while it does not run. It also ends with the thread that
    started it, where util-linux is installed.

    Args:
        program: its path.
        folder: for its data, its log and its unix socket, whose path has at most 107 bytes.
        lines: more lines of its configuration file, which override those before.
        sentinel: run it as a Sentinel.
    """

    def __init__(
        self, program: Path, folder: Path, lines: Sequence[str] = (), *, sentinel: bool = False
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._port = HeldPort()
        self.port: int = self._port.number
        self.socket: Path = folder / "redis.sock"
        self.file: Path = folder / "server.conf"
        self.log: Path = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        # The kernel ends it if the thread that starts it ends first: tests are killed, too.
        guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        self._command = [*guard, str(program), str(self.file), *(["--sentinel"] if sentinel else [])]
        own = [f"port {self.port}", "bind 127.0.0.1", f"dir {folder}", f"logfile {self.log}"]
        if not sentinel:
            own += [f"unixsocket {self.socket}", 'save ""', "appendonly no"]
        self.file.write_text("\n".join([*own, *lines, ""]))

    @property
    def url(self) -> str:
        """Its address, as ``REDIS_URL`` has it."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id.

        Raises:
            ServerEnded: when it was not started yet.
        """
        if self.process is None:
            raise ServerEnded("it was not started")
        return self.process.pid

    async def start(self) -> None:
        """Start it, or start it again on the same data; return once it answers.

        Raises:
            ServerEnded: when it does not run.
            TimeoutError: when it does not answer within twenty seconds.
        """
        self._launch()
        await self.until(self.answers)

    def _launch(self) -> None:
        with self.log.open("ab") as log:  # a bad configuration is told before it opens its log
            self.process = subprocess.Popen(  # noqa: S603 - the program that was asked for
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def answers(self) -> bool:
        """Whether it answers a PING, be it by asking for a password."""
        return self.talk(b"PING\r\n").startswith((b"+PONG", b"-NOAUTH", b"-NOPERM"))

    async def until(self, condition: Callable[[], object]) -> None:
        """Return once a function says so.

        Raises:
            ServerEnded: when the server ends first.
            TimeoutError: when it takes more than twenty seconds.
        """
        with anyio.fail_after(LIMIT_S):
            while not condition():
                if self.process is None or self.process.poll() is not None:
                    raise ServerEnded(f"the server ended: {self._last_words()}")
                await anyio.sleep(0.01)

    def is_waited_on(self) -> bool:
        """Whether a client waits in a blocking command."""
        return b"blocked_clients:1" in self.talk(b"INFO clients\r\n")

    def talk(self, lines: bytes, *, limit_s: float = 1.0) -> bytes:
        """Send lines on a connection of its own and return the first bytes of the answer, if any come."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), limit_s) as connection:
                connection.sendall(lines)
                return connection.recv(65536)
        except OSError:
            return b""

    def kill(self) -> None:
        """End it as kill -9 does, also while it is stopped."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(LIMIT_S)

    async def restart(self) -> None:
        """Kill it and start it again on the same data and port."""
        self.kill()
        await self.start()

    def pause(self) -> None:
        """Stop it in the middle of whatever it does: connections stay, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)  # until it has stopped

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it for good, and let others have its port."""
        self.kill()
        self._port.close()

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""


async def start_server(
    program: Path, folder: Path, lines: Sequence[str] = (), *, sentinel: bool = False
) -> RedisServer:
    """Start a server on a free port; see `RedisServer` for the arguments. Whoever calls this closes it.

    Raises:
        ServerEnded: when it does not run.
    """
    server = RedisServer(program, folder, lines, sentinel=sentinel)
    try:
        await server.start()
    except BaseException:
        server.close()
        raise
    return server


@asynccontextmanager
async def open_server(*lines: str, program: Path | None = None) -> AsyncIterator[RedisServer]:
    """Run a private server for as long as the block lasts; it keeps nothing after that.

    Args:
        lines: of its configuration file, such as ``"appendonly yes"``.
        program: its path; None takes what `find_server` finds.

    Yields:
        The server.

    Raises:
        NoServer: when there is no program.
        ServerEnded: when it does not run.
    """
    if program is None:
        program = await anyio.to_thread.run_sync(find_server)
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = await start_server(program, Path(folder, "server"), lines)
        try:
            yield server
        finally:
            server.close()
