"""systemd: a bot tells it what sd_notify(3) has, and nobody speaks in the bot's name."""

import contextlib
import itertools
import os
import socket
import time

import anyio
import pytest

from botvisor.config.service_manager import ServiceManager, take_service_manager
from botvisor.notifier import Notifier
from botvisor.service import Service
from botvisor.testing import fake_bot

from . import processes
from .bot_rig import until
from .processes import LOOPS

scripts = processes.scripts


class Manager:
    """What systemd's end of the socket hears.

    Args:
        address: a path, or an abstract name behind an ``@``.
    """

    def __init__(self, address):
        self.address = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.address[1:] if self.address.startswith("@") else self.address)
        self.heard = []  # when, and what

    def close(self):
        self._socket.close()

    def hears(self, text, within_s=20.0):
        """Wait until a line has come; returns all lines so far."""
        end = time.monotonic() + within_s
        while text not in self.lines:
            self._socket.settimeout(max(end - time.monotonic(), 0.001))
            self._take()
        return self.lines

    def listen(self, for_s):
        """Take in what comes for a while."""
        end = time.monotonic() + for_s
        with contextlib.suppress(TimeoutError):
            while True:
                self._socket.settimeout(max(end - time.monotonic(), 0.001))
                self._take()

    def _take(self):
        datagram = self._socket.recv(4096).decode()
        self.heard += [(time.monotonic(), line) for line in datagram.splitlines()]

    @property
    def lines(self):
        return [line for _, line in self.heard]


@pytest.fixture
def manager(tmp_path):
    with contextlib.closing(Manager(tmp_path / "notify")) as manager:
        yield manager


@pytest.mark.parametrize("loop", LOOPS)
def test_it_is_told_that_a_bot_is_ready_and_that_it_stops(scripts, manager, loop):
    bot = scripts.bot(
        "await bot.wait_stopping()", f"bot_id='ada', {LOOPS[loop]}", NOTIFY_SOCKET=manager.address
    )
    assert manager.hears("STATUS=bot ada is healthy") == ["READY=1", "STATUS=bot ada is healthy"]
    assert bot.stop() == 0
    assert manager.hears("STOPPING=1")[2:] == ["STATUS=bot ada is draining: SIGTERM", "STOPPING=1"]


def test_an_abstract_socket_is_one_too(scripts):
    with contextlib.closing(Manager(f"@botvisor-test-{os.getpid()}")) as manager:
        bot = scripts.bot("print('runs')", NOTIFY_SOCKET=manager.address)
        assert bot.ends() == 0
        lines = manager.hears("STOPPING=1")
        assert (lines[0], lines[-1]) == ("READY=1", "STOPPING=1")


def test_a_loop_that_turns_feeds_the_watchdog_and_a_blocked_one_does_not(scripts, manager):
    bot = scripts.bot(
        """
        await anyio.sleep(0.5)
        time.sleep(0.8)
        print("turns again", flush=True)
        await bot.wait_stopping()
        """,
        NOTIFY_SOCKET=manager.address,
        WATCHDOG_USEC="200000",
    )
    manager.hears("READY=1")
    manager.listen(1.6)
    bot.says("turns again")
    beats = [at for at, line in manager.heard if line == "WATCHDOG=1"]
    gaps = [later - earlier for earlier, later in itertools.pairwise(beats)]
    assert bot.stop() == 0
    assert len(gaps) >= 4
    assert max(gaps) > 0.7
    assert sorted(gaps)[len(gaps) // 2] < 0.2


def test_child_processes_do_not_speak_in_the_bots_name(scripts, manager):
    bot = scripts.bot(
        """
        import subprocess
        code = "import os; print([name for name in os.environ if name.startswith(('NOTIFY', 'WATCHDOG'))])"
        print(subprocess.check_output([sys.executable, "-c", code], text=True))
        """,
        NOTIFY_SOCKET=manager.address,
        WATCHDOG_USEC="60000000",
    )
    assert bot.ends() == 0
    assert bot.out[0] == "[]"


@pytest.mark.parametrize("address", ["/there/is/none", "vsock:2:1"])
def test_nobody_that_listens_is_no_trouble(scripts, address):
    bot = scripts.bot("print('runs')", NOTIFY_SOCKET=address, WATCHDOG_USEC="100000", BOT_LOG_LEVEL="WARNING")
    assert bot.ends() == 0
    assert (bot.out, bot.err) == (["runs", "returned None"], [])


async def test_a_bot_that_drains_has_all_its_time(manager):
    leave = anyio.Event()

    async def main(bot):
        await bot.wait_stopping()
        await leave.wait()

    notifier = Notifier(ServiceManager(socket=manager.address))
    async with fake_bot(main, bot_id="ada") as bot, anyio.create_task_group() as group:
        group.start_soon(Service(notifier, bot.handle, bot.supervisor.core.timers).tell)
        await until(lambda: bot.bot.status == "healthy", 5)
        await anyio.sleep(0.01)
        bot.handle.drain("ann sent drain")
        await bot.bot.wait_stopping()
        await anyio.sleep(0.01)
        manager.listen(0.05)
        assert manager.lines[-1] == "STATUS=bot ada is draining: ann sent drain"
        assert "STOPPING=1" not in manager.lines
        leave.set()
        await bot.wait()
    notifier.close()


def test_what_could_not_be_sent_goes_with_the_next(tmp_path):
    notifier = Notifier(ServiceManager(socket=str(tmp_path / "late")))
    notifier.ready()
    notifier.status("a\nb\x00c")
    with contextlib.closing(Manager(tmp_path / "late")) as manager:
        notifier.alive()
        manager.listen(0.05)
        assert manager.lines == ["READY=1", "STATUS=a b c", "WATCHDOG=1"]
        notifier.status("a\nb\x00c")
        notifier.stopping()
        notifier.stopping()
        manager.listen(0.05)
        assert manager.lines[3:] == ["STOPPING=1"]
    notifier.close()
    notifier.ready()


def test_a_slow_manager_does_not_block_the_loop(manager):
    notifier = Notifier(ServiceManager(socket=manager.address))
    began = time.monotonic()
    for _ in range(2_000):  # far more than a socket takes
        notifier.alive()
    assert time.monotonic() - began < 2
    notifier.close()


SOCKET = {"NOTIFY_SOCKET": "/run/notify"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"NOTIFY_SOCKET": ""}, None),
        ({"WATCHDOG_USEC": "1000000"}, None),
        ({"NOTIFY_SOCKET": "@"}, None),
        ({"NOTIFY_SOCKET": "relative"}, None),
        ({"NOTIFY_SOCKET": "vsock:2:1"}, None),
        ({"NOTIFY_SOCKET": "@name"}, ServiceManager(socket="@name")),
        (SOCKET, ServiceManager(socket="/run/notify")),
        (SOCKET | {"WATCHDOG_USEC": "1500000"}, ServiceManager(socket="/run/notify", watchdog_s=1.5)),
        (SOCKET | {"WATCHDOG_USEC": "soon"}, ServiceManager(socket="/run/notify")),
        (SOCKET | {"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, ServiceManager(socket="/run/notify")),
        (
            SOCKET | {"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())},
            ServiceManager(socket="/run/notify", watchdog_s=1.5),
        ),
    ],
)
def test_the_environment_says_who_wants_to_hear_and_forgets_it(environ, expected):
    environ = {"PATH": "/bin", **environ}
    assert take_service_manager(environ) == expected
    assert environ == {"PATH": "/bin"}
