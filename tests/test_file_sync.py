"""What is called stored survives a loss of power: the order in which files reach the disk."""

import os
from pathlib import Path

import pytest

from botvisor.store import PushMessage

from .file_rig import GOOD, QUEUE, beat


class Disk:
    """Watches the calls that put files on the disk, each with the path that it is for."""

    def __init__(self, monkeypatch):
        self.calls = []
        fsync, rename, link = os.fsync, os.rename, os.link

        def watched_fsync(fd):
            fsync(fd)
            path = Path(f"/proc/self/fd/{fd}").readlink()
            self.calls.append(("fsync", str(path), path.stat().st_size if path.is_file() else None))

        def watched(name, call):
            def moves(source, target, **more):
                call(source, target, **more)
                self.calls.append((name, os.fspath(source), os.fspath(target)))

            return moves

        monkeypatch.setattr(os, "fsync", watched_fsync)
        monkeypatch.setattr(os, "rename", watched("rename", rename))
        monkeypatch.setattr(os, "replace", watched("rename", os.replace))
        monkeypatch.setattr(os, "link", watched("rename", link))


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


async def test_a_message_is_on_disk_under_its_name_before_its_sender_hears_of_it(files, disk):
    await files.ask(PushMessage(QUEUE, "m", GOOD))
    (file,) = [path for path in files.admin.iterdir() if path.name.startswith("admin-")]
    assert ("fsync", str(files.admin.parent), None) in disk.calls  # the directory was new, too
    # Its bytes first, then its name, then the directory that holds the name.
    (bytes_synced, named, name_synced) = disk.calls[-3:]
    assert (bytes_synced[0], bytes_synced[2]) == ("fsync", len(GOOD))
    assert named == ("rename", bytes_synced[1], str(file))
    assert name_synced[:2] == ("fsync", str(files.admin))


async def test_a_heartbeat_costs_no_wait_for_the_disk(files, disk):
    await files.ask(beat("a"))  # makes the directories
    disk.calls.clear()
    await files.ask(beat("a"))
    assert [call[0] for call in disk.calls if call[0] == "fsync"] == []
