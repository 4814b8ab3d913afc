"""What a sender leaves in his outbox when he ends: who takes it over, and when it is swept away."""

import json
import os
import threading
import time

import pytest

from botvisor.actors.backend.files import FileStore
from botvisor.errors import StoreUnavailable
from botvisor.store import Sweep

from . import outbox_rig, redis_world
from .fleet import settings_in
from .outbox_rig import files

folder, sender = outbox_rig.folder, outbox_rig.sender
anyio_backend = redis_world.one_loop


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_sender_that_lives_is_left_alone(sender):
    one, two = sender(), sender()
    one.keep("a")
    two.keep("b")
    assert (one.outbox.adopt(), two.outbox.adopt()) == (0, 0)
    assert (one.ids, two.ids) == (["a"], ["b"])


def test_what_the_dead_have_left_is_taken_over_once(sender, folder):
    for message_id in ("a", "b"):
        dead = sender()
        dead.keep(message_id)
        dead.keep(f"{message_id}2", pushed=False)  # it died in the middle: nobody knows whether it was sent
        dead.die()
    one, two = sender(), sender()
    assert (one.outbox.adopt(), two.outbox.adopt(), one.outbox.adopt()) == (4, 0, 0)
    assert sorted(one.ids) == ["a", "a2", "b", "b2"]
    assert [path.name for path in (folder / "outbox").iterdir() if path.is_dir()] == [one.outbox._name]
    assert json.loads(one.outbox.read(one.outbox.copies()[0]))["resent"] is True


def test_only_as_much_is_taken_over_as_there_is_room_for(sender):
    dead = sender()
    for number in range(5):
        dead.keep(str(number))
    dead.die()
    one, two = sender(copies=2), sender()
    assert (one.outbox.adopt(), one.outbox.adopt(), two.outbox.adopt()) == (2, 0, 3)


def test_senders_that_take_over_at_the_same_time_share_what_there_is(sender):
    for number in range(20):
        dead = sender()
        dead.keep(str(number))
        dead.die()
    heirs = [sender() for _ in range(4)]
    threads = [threading.Thread(target=heir.outbox.adopt) for heir in heirs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    heirs[0].outbox.adopt()
    assert sorted((one for heir in heirs for one in heir.ids), key=int) == [
        str(number) for number in range(20)
    ]


def test_an_age_survives_a_take_over(sender):
    dead = sender()
    sent_at = dead.keep().sent_at
    dead.die()
    one = sender()
    one.outbox.adopt()
    (copy,) = one.outbox.copies()
    assert copy.sent_at == pytest.approx(sent_at, abs=0.002)


def test_what_is_no_copy_goes_into_quarantine(sender, folder):
    dead = sender()
    dead.keep("good")
    dead.die()
    (path,) = files(folder)
    for name, raw in (("cut", b'{"v": 1, "ki'), ("empty", b""), ("bytes", b"\xff\n{}")):
        (path.parent / name).write_bytes(raw)
    (path.parent / "link").symlink_to("/etc/passwd")
    one = sender()
    assert one.outbox.adopt() == 1
    assert one.ids == ["good"]
    assert len(list((folder / ".bad").iterdir())) == 4
    assert len(one.notices) == 4


def test_a_directory_that_is_being_taken_over_is_written_no_more(sender, folder):
    one, thief = sender(), sender()
    one.keep("a")
    (lock,) = (folder / "outbox").glob("*.lock")
    lock.unlink()
    thief.outbox._lease.path = str(lock)
    thief.outbox._lease.acquire(thief.outbox._owner)
    with pytest.raises(StoreUnavailable, match="is being taken over"):
        one.keep("b")
    assert len(files(folder)) == 1


async def test_sweeping_deletes_what_the_dead_have_left_too_long_ago(sender, tmp_path, folder):
    living, dead, young = sender(), sender(), sender()
    for each in (living, dead, young):
        each.keep()
    for path in files(folder):
        if path.parent.name != young.outbox._name:
            age(path, 3_700)
    for lock in (folder / "outbox").glob("*.lock"):
        age(lock, 3_700)
    dead.die()
    young.die()
    store = FileStore(settings_in(tmp_path))
    assert await store.execute([Sweep()]) == [3]  # one copy, and the locks of the two that are dead
    left = {path.parent.name for path in files(folder)}
    assert left == {living.outbox._name, young.outbox._name}
    store.close()
