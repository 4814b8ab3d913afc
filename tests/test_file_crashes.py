"""Crashes of processes on files, and what expires."""

import json
import signal
import subprocess
import sys
import time

import anyio
import pytest

from botvisor.errors import UnsafeDirectory
from botvisor.store import (
    ListMessages,
    PushControl,
    ReadIdentity,
    ReadReceipt,
    Sweep,
    TakeControl,
)
from botvisor.wire import (
    ADMIN_TTL_S,
    CONTROL_TTL_S,
    DEAD_TTL_S,
    DONE_TTL_S,
    EPITAPH_TTL_S,
    IDENTITY_TTL_S,
    PROC_TTL_S,
)

from .file_rig import QUEUE, age, beat, use_everything

CLAIMER = """
import anyio, os, signal, sys
from pathlib import Path
from botvisor.actors.backend.files import FileStore
from botvisor.config import Settings
from botvisor.process import own
from botvisor.store import AcquireLease, Done, NextMessage, Queue

async def main(root, ledger, instance, stop_at):
    store = FileStore(Settings(admin_message_dir=root, heartbeat_dir=root / "h", identity_dir=root / "i"))
    queue = Queue("bot", "4711")
    assert await store.execute([AcquireLease(queue, own("4711", instance))]) == [None]
    done, shown = None, 0
    print("ready", flush=True)
    while True:
        (claim,) = await store.execute([NextMessage(queue, instance, instance, done)])
        if claim is None:
            return
        known_by = claim.raw.decode().split('"')[3]
        if not claim.done:
            os.write(ledger, f"{known_by} {claim.tries}\\n".encode())
            shown += 1
        if shown == stop_at > 0:
            os.kill(os.getpid(), signal.SIGKILL)
        done = Done(claim.token, known_by)

ledger = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
anyio.run(main, Path(sys.argv[1]), ledger, sys.argv[3], int(sys.argv[4]))
"""


def claimer(files, instance, stop_at=0):
    arguments = [str(files.admin), str(files.root / "ledger"), instance, str(stop_at)]
    return subprocess.Popen([sys.executable, "-c", CLAIMER, *arguments], stdout=subprocess.PIPE)


def ledger(files):
    lines = (files.root / "ledger").read_text().splitlines()
    return [(known_by, int(tries)) for known_by, tries in (line.split() for line in lines)]


def test_a_process_killed_with_a_message_leaves_it_to_its_successor(files):
    for number in range(3):
        files.drop(f"admin-4711-{number}.json", b'{"id":"m%d","message":"x"}' % number, age_s=60 - number)
    process = claimer(files, "killed", stop_at=2)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert ledger(files) == [("m0", 1), ("m1", 1)]
    assert anyio.run(files.ask, ReadReceipt(QUEUE, "m1")) == "delivered"
    anyio.run(files.lease)
    claim = anyio.run(files.take)
    assert (json.loads(claim.raw)["id"], claim.tries, claim.done) == ("m1", 2, False)


def test_processes_killed_at_any_moment_lose_nothing_and_repeat_nothing_unmarked(files):
    total = 300
    for number in range(total):
        files.drop(f"admin-4711-{number:04}.json", b'{"id":"m%d","message":"x"}' % number, age_s=600 - number)
    for kill in range(8):
        process = claimer(files, f"run-{kill}")
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.003 * kill)  # somewhere in the middle of its work: the moment is the point
        process.kill()
        process.communicate(timeout=30)
    last = claimer(files, "last")
    last.communicate(timeout=30)
    assert last.returncode == 0
    shown = {}
    for known_by, tries in ledger(files):
        shown.setdefault(known_by, []).append(tries)
    dead = {json.loads(letter.raw)["id"] for letter in anyio.run(files.ask, ListMessages(QUEUE))}
    assert len(shown.keys() | dead) == total
    assert [tries for tries in shown.values() if 1 in tries[1:]] == []
    assert files.names(".claim/4711") == []


# What expires


async def test_only_what_has_expired_is_swept(files):
    await use_everything(files)
    unrelated = [files.drop("notes.txt"), files.drop("admin-nobody.json")]
    lifetimes = {
        "admin/admin-4711-*.json": ADMIN_TTL_S,
        "admin/ctl-4711-*.json": CONTROL_TTL_S,
        "admin/.done/*/*/*": DONE_TTL_S,
        "admin/.dead/*": DEAD_TTL_S,
        "admin/.bad/*": DEAD_TTL_S,
        "heartbeats/*.json": EPITAPH_TTL_S,
        "identities/*/*.json": IDENTITY_TTL_S,
    }
    draft = files.drop(".tmp/draft")
    for pattern, ttl_s in {**lifetimes, "admin/.tmp/*": ADMIN_TTL_S}.items():
        (path,) = files.root.glob(pattern)
        age(path, ttl_s - 60)
    for path in (*unrelated, files.admin / "4711.lock"):
        age(path, 10 * DEAD_TTL_S)
    assert await files.ask(Sweep()) == 0
    for pattern, ttl_s in lifetimes.items():
        for path in files.root.glob(pattern):
            age(path, ttl_s + 60)
    age(draft, ADMIN_TTL_S + 60)
    assert await files.ask(Sweep()) == len(lifetimes) + 1
    assert all(path.exists() for path in unrelated)
    assert (files.admin / "4711.lock").exists()
    assert [path.name for path in files.identities.iterdir() if path.name != ".tmp"] == []
    assert await files.ask(ReadReceipt(QUEUE, "flying")) == "delivered"


async def test_stale_locks_and_claims_of_dead_bots_are_swept(files):
    await files.push("m")
    await files.lease()
    await files.take()
    (claimed,) = (files.admin / ".claim" / "4711").iterdir()
    age(claimed, PROC_TTL_S + 60)
    age(files.admin / "4711.lock", ADMIN_TTL_S + 60)
    assert await files.ask(Sweep()) == 0  # it is held
    files.store.close()
    assert await files.ask(Sweep()) == 2
    assert files.names(".claim") == []
    assert not (files.admin / "4711.lock").exists()


async def test_sweeping_says_what_it_could_not_sweep_and_sweeps_the_rest(files):
    await files.ask(beat())
    (path,) = files.heartbeats.glob("*.json")
    age(path, EPITAPH_TTL_S + 60)
    files.admin.mkdir()
    files.admin.chmod(0o777)
    with pytest.raises(UnsafeDirectory):
        await files.ask(Sweep())
    assert not path.exists()


async def test_old_control_is_dropped(files):
    await files.ask(PushControl("4711", "c1", b"1"))
    (path,) = files.admin.glob("ctl-*")
    age(path, CONTROL_TTL_S + 1)
    await files.ask(PushControl("4711", "c2", b"2"))
    assert await files.ask(TakeControl("4711")) == [b"2"]
    assert list(files.admin.glob("ctl-*")) == []


WRITER = """
import anyio, msgspec, random, sys
from pathlib import Path
from botvisor.actors.backend.files import FileStore
from botvisor.config import Settings
from botvisor.identity import Identity
from botvisor.store import WriteIdentity

async def main(root, base, writer):
    store = FileStore(Settings(admin_message_dir=root / "a", heartbeat_dir=root / "h", identity_dir=root))
    moments = list(range(base, base + 40))
    random.Random(writer).shuffle(moments)
    for moment in moments:
        identity = Identity(
            participant_id="p", room_url="r", timestamp="", data=msgspec.Raw(b"{}"),
            updated_ms=moment, writer=writer,
        )
        assert await store.execute([WriteIdentity(identity)]) == [None]

anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
"""


def test_writers_in_several_processes_leave_the_latest_identity(files):
    base = int(time.time() * 1000)
    command = [sys.executable, "-c", WRITER, str(files.identities), str(base)]
    writers = [subprocess.Popen([*command, name]) for name in ("a", "b", "c")]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    found = anyio.run(files.ask, ReadIdentity("r", "p"))
    assert (found.updated_ms, found.writer) == (base + 39, "c")
