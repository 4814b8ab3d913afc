"""The outbox on the disk: what is kept, and for how long."""

import json
import os
import stat
import time
from pathlib import Path

import msgspec
import pytest

from botvisor.actors.backend.outbox import draft
from botvisor.errors import MalformedMessage, StoreError, UnsafeDirectory
from botvisor.store import PushMessage
from botvisor.wire import MAX_MESSAGE_BYTES

from . import outbox_rig
from .outbox_rig import QUEUE, files

folder, sender = outbox_rig.folder, outbox_rig.sender


def test_what_is_kept_is_the_message_as_it_would_be_sent_again(sender):
    one = sender()
    copy = one.keep("a")
    assert json.loads(one.outbox.read(copy)) == {"id": "a", "message": "hi", "resent": True}
    assert (copy.queue, copy.message_id, copy.pushed) == (QUEUE, "a", True)
    assert abs(copy.sent_at - time.time()) < 5


def test_a_copy_is_on_the_disk_before_anything_is_sent(sender, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())), fsync(fd))
    )
    one = sender()
    one.keep()
    root, own = one.outbox._root.path, one.outbox._own.path
    assert {str(Path(root).parent), root} <= set(synced[:-2])  # the names of both new directories
    assert Path(synced[-2]).parent.name == ".tmp"  # the file
    assert synced[-1] == own  # its name


def test_only_its_user_can_read_it(sender, folder):
    sender().keep()
    (path,) = files(folder)
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent, path.parent.parent)]
    assert modes == [0o600, 0o700, 0o700]


@pytest.mark.parametrize("message_id", ["../../escape", "a/b", ".", "ü\u200d" * 99, "x" * 256])
def test_an_id_of_any_kind_stays_inside(sender, folder, message_id):
    one = sender()
    copy = one.keep(message_id)
    (path,) = files(folder)
    assert path.name == copy.name
    one.die()
    successor = sender()
    assert successor.outbox.adopt() == 1
    assert successor.ids == [message_id]


def test_a_directory_that_others_can_write_is_refused(sender, folder):
    folder.mkdir(mode=0o700)
    (folder / "outbox").mkdir()
    (folder / "outbox").chmod(0o777)
    with pytest.raises(UnsafeDirectory, match="chmod 700"):
        sender().keep()


def test_what_has_no_room_for_the_mark_is_refused():
    raw = msgspec.json.encode({"id": "a", "message": "x" * (MAX_MESSAGE_BYTES - 30)})
    assert len(raw) <= MAX_MESSAGE_BYTES
    with pytest.raises(MalformedMessage, match="a repeat's mark"):
        draft(PushMessage(QUEUE, "a", raw))


def test_a_dropped_copy_is_gone_from_the_disk(sender, folder):
    one = sender()
    first, second = one.keep("a"), one.keep("b", pushed=False)
    one.outbox.drop(first)
    one.outbox.drop(second)
    one.outbox.drop(second)
    assert (files(folder), len(one.outbox)) == ([], 0)


def test_two_messages_of_one_id_are_kept_each_for_its_own_sake(sender):
    one = sender()
    first, second = one.keep("a"), one.keep("a")
    one.outbox.drop(first)
    assert one.ids == ["a"]
    assert one.outbox.read(second)


@pytest.mark.parametrize("limits", [{"copies": 2}, {"size": 2_500}])
def test_a_full_outbox_takes_no_more_until_something_was_handled(sender, folder, limits):
    one = sender(**limits)
    copy = one.keep("a", size=1_000)
    one.keep("b", size=1_000)
    with pytest.raises(StoreError, match="is full: 2 durable messages"):
        one.keep("c", size=1_000)
    assert len(files(folder)) == 2
    one.outbox.drop(copy)
    one.keep("c", size=1_000)


def test_a_disk_that_cannot_be_written_keeps_nothing_in_mind(sender, folder):
    one = sender()
    one.outbox.drop(one.keep("a"))
    tmp = folder / ".tmp"
    tmp.rmdir()
    tmp.write_text("in the way")
    with pytest.raises(StoreError):
        one.keep("b")
    tmp.unlink()
    assert one.ids == []


def test_a_copy_that_somebody_took_away_is_forgotten(sender, folder):
    one = sender()
    copy = one.keep()
    files(folder)[0].unlink()
    assert one.outbox.read(copy) is None
    assert one.ids == []


def test_a_lock_that_was_deleted_is_taken_again(sender, folder):
    one = sender()
    one.keep("a")
    next((folder / "outbox").glob("*.lock")).unlink()
    one.keep("b")
    assert sender().outbox.adopt() == 0


def test_a_closed_outbox_leaves_what_is_kept_and_nothing_else(sender, folder):
    one, two = sender(), sender()
    one.keep("a")
    two.outbox.drop(two.keep("b"))
    one.outbox.close()
    two.outbox.close()
    names = sorted(path.name for path in (folder / "outbox").iterdir())
    assert names == [one.outbox._name, f"{one.outbox._name}.lock"]
    assert sender().outbox.adopt() == 1
