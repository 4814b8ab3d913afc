"""The watchdog: it tells where a loop stands while it stands still, and what it was when it is over."""

import os
import signal
import subprocess
import sys
import threading
import time

import anyio
import pytest

from botvisor import stall as stalls
from botvisor.watchdog import Watchdog

AFTER_S = 0.2
AGAIN_S = 0.6


class Kennel:
    """A watchdog, and what it has told."""

    def __init__(self):
        self.stalls, self.turns, self.threads = [], [], []
        self.told = threading.Event()
        self.dog = Watchdog(AFTER_S, on_stall=self._stalled, on_turn=self._turned, again_s=AGAIN_S)

    def _stalled(self, stall):
        self.stalls.append(stall)
        self.threads.append(threading.current_thread())
        self.told.set()

    def _turned(self, stall, for_s):
        self.turns.append((stall, for_s))

    async def __aenter__(self):
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        await self._group.start(self._run)
        return self

    async def __aexit__(self, *error):
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(*error)

    async def _run(self, *, task_status):
        await self.dog.run(task_status.started)

    async def turned(self):
        with anyio.fail_after(10):
            while not self.turns:
                await anyio.sleep(0.01)


def spin_until(event):
    while not event.is_set():
        sum(range(100))


def wait_for(event):
    assert event.wait(10)  # blocks this thread, as a call that was forgotten to be awaited does


@pytest.mark.parametrize("block", [wait_for, spin_until])
async def test_it_names_the_line_that_blocks_while_it_blocks(block):
    async with Kennel() as kennel:
        block(kennel.told)
        await kennel.turned()
    stall, *_ = kennel.stalls
    assert stall.where.file == __file__
    assert stall.where.function == block.__name__
    assert "test_it_names_the_line_that_blocks" in stall.stack
    assert stall.for_s >= AFTER_S
    assert kennel.threads[0] is not threading.current_thread()


async def test_once_it_is_over_the_loop_is_told_how_long_it_was():
    async with Kennel() as kennel:
        wait_for(kennel.told)
        await kennel.turned()
    ((stall, for_s),) = [turn for turn in kennel.turns if turn[0] in kennel.stalls[:1]]
    assert for_s >= stall.for_s - 0.05  # which is told in tenths


async def test_a_stall_that_lasts_is_told_again():
    async with Kennel() as kennel:
        wait_for(kennel.told)
        kennel.told.clear()
        began = time.monotonic()
        wait_for(kennel.told)
        assert time.monotonic() - began > AGAIN_S / 2
    assert len(kennel.stalls) == 2


async def test_a_loop_that_turns_is_left_alone():
    async with Kennel() as kennel:
        await anyio.sleep(AFTER_S * 3)
    assert not kennel.stalls


async def test_its_thread_ends_with_it():
    async with Kennel():
        assert any(thread.name == "botvisor watchdog" for thread in threading.enumerate())
    with anyio.fail_after(5):
        while any(thread.name == "botvisor watchdog" for thread in threading.enumerate()):
            await anyio.sleep(0.02)


STOPPED = """
import anyio, sys
from botvisor.watchdog import Watchdog
async def main():
    dog = Watchdog(0.3, on_stall=lambda s: print("STALL", s.where, flush=True), on_turn=print)
    async with anyio.create_task_group() as group:
        group.start_soon(dog.run, lambda: print("watching", flush=True))
        await anyio.to_thread.run_sync(sys.stdin.read)
        group.cancel_scope.cancel()
anyio.run(main)
"""


def test_a_process_that_was_stopped_as_a_whole_was_not_blocked():
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "watching\n"
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        time.sleep(1.0)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.2)  # time enough for a look
        out, _ = process.communicate(timeout=10)
    assert out == ""


def test_a_dump_of_faulthandler_is_read():
    text = """Timeout (0:00:03)!
Thread 0x00007f0000000001 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 324 in wait

Thread 0x00007f0000000002 (most recent call first):
  File "/srv/bot/talk.py", line 12 in match
  File "/srv/bot/bot.py", line 40 in main
  File "/srv/bot/bot.py", line 50 in <module>
"""
    stall = stalls.read_dump(text, 3.0)
    assert str(stall.where) == "/srv/bot/talk.py:12 in match"
    assert stall.stack.splitlines()[0] == "  /srv/bot/bot.py:50 in <module>"


def test_a_dump_that_is_still_being_written_names_no_other_thread(tmp_path):
    path = tmp_path / "dump"
    code = (
        "import faulthandler, sys, threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "file = open(sys.argv[1], 'w')\n"
        "def blocks(): faulthandler.dump_traceback_later(0.05, file=file); time.sleep(0.5)\n"
        "blocks()\n"
    )
    (tmp_path / "script.py").write_text(code)
    subprocess.run([sys.executable, str(tmp_path / "script.py"), str(path)], check=True, timeout=10)
    text = path.read_text()
    assert text.count("(most recent call first):") == 2
    whole = stalls.read_dump(text, 3.0)
    assert whole.where.function == "blocks"
    parts = [stalls.read_dump(text[:length], 3.0) for length in range(len(text))]
    assert all(part is None or part.where == whole.where for part in parts)


OUTERMOST = '  File "<frozen runpy>", line 1 in _run_module_as_main\n'


def test_the_line_is_the_authors_where_pythons_own_is_what_blocks():
    stdlib = threading.__file__
    dump = f'  File "{stdlib}", line 1 in wait\n  File "/srv/bot/bot.py", line 7 in main\n'
    assert stalls.read_dump(dump + OUTERMOST, 1.0).where.file == "/srv/bot/bot.py"
    alone = f'  File "{stdlib}", line 1 in wait\n'
    assert stalls.read_dump(alone + OUTERMOST, 1.0).where.file == stdlib


def test_what_runs_the_tasks_is_not_the_line_unless_it_is_all_there_is():
    runner = f'  File "{anyio.__file__}", line 2 in _run_coro\n'
    ours = f'  File "{stalls.__file__}", line 3 in tell\n'
    author = '  File "/srv/bot/bot.py", line 7 in main\n'
    assert stalls.read_dump(ours + runner + author + OUTERMOST, 1.0).where.file == "/srv/bot/bot.py"
    assert stalls.read_dump(ours + runner + OUTERMOST, 1.0).where.function == "tell"


HELD = """
import anyio, re, time
from botvisor.watchdog import Watchdog
async def main():
    dog = Watchdog(0.2, on_stall=print, on_turn=lambda stall, for_s: print("held", for_s > 0.3, flush=True))
    async with anyio.create_task_group() as group:
        await group.start(run, dog)
        await anyio.sleep(0.1)
        for length in range(20, 40):
            await anyio.sleep(0.01)
            began = time.monotonic()
            re.match(r"(a+)+$", "a" * length + "b")
            if time.monotonic() - began > 0.5:
                break
        await anyio.sleep(0.5)
        group.cancel_scope.cancel()
async def run(dog, task_status):
    await dog.run(task_status.started)
anyio.run(main)
"""


def test_code_that_holds_the_interpreters_lock_is_noticed_afterwards():
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, timeout=60)
    assert "held True" in done.stdout, done.stderr
