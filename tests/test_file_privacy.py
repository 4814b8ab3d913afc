"""Privacy of the store on files, and hostile names and files."""

import os
import socket
import stat
import time

import pytest

from botvisor.config import Settings
from botvisor.errors import UnsafeDirectory
from botvisor.process import own
from botvisor.store import (
    CleanUpIdentities,
    Done,
    ListHeartbeats,
    ListIdentities,
    ListMessages,
    PushMessage,
    Queue,
    ReadHeartbeat,
    ReadIdentity,
    ReadReceipt,
    Sweep,
)
from botvisor.wire import (
    identity_path,
)

from .file_rig import GOOD, QUEUE, ROOM, age, as_root, beat, identity, use_everything


@pytest.mark.parametrize("umask", [0, 0o777], ids=["umask 0", "umask 777"])
async def test_directories_are_0700_and_files_0600_whatever_the_umask(files, umask):
    files.settings = Settings(
        admin_message_dir=files.root / "new" / "admin",
        heartbeat_dir=files.root / "new" / "er" / "beats",
        identity_dir=files.root / "new" / "ident",
    )
    files.store = files.new_store()
    previous = os.umask(umask)
    try:
        await use_everything(files)
    finally:
        os.umask(previous)
    kinds = {}
    for path in [files.root / "new", *(files.root / "new").rglob("*")]:
        found = path.stat()
        kinds.setdefault(stat.S_ISDIR(found.st_mode), set()).add(stat.S_IMODE(found.st_mode))
    assert kinds == {True: {0o700}, False: {0o600}}


@pytest.mark.parametrize("command", [beat(), identity(), PushMessage(QUEUE, "m", GOOD)], ids=type)
async def test_a_directory_that_others_can_write_to_is_refused_with_a_remedy(files, command):
    for folder in (files.admin, files.heartbeats, files.identities):
        folder.mkdir()
        folder.chmod(0o770)
    with pytest.raises(UnsafeDirectory, match="run: chmod 700"):
        await files.ask(command)


async def test_a_directory_that_others_can_only_read_is_used(files):
    files.admin.mkdir()
    files.admin.chmod(0o755)
    assert await files.push("m")


async def test_a_symbolic_link_to_a_directory_is_refused(files):
    target = files.root / "elsewhere"
    target.mkdir(mode=0o700)
    files.admin.symlink_to(target)
    with pytest.raises(UnsafeDirectory, match="is a symbolic link"):
        await files.push("m")
    with pytest.raises(UnsafeDirectory):
        await files.lease()
    assert list(target.iterdir()) == []


async def test_a_file_in_place_of_a_directory_is_refused(files):
    files.admin.write_text("a file")
    with pytest.raises(UnsafeDirectory, match="is not a directory"):
        await files.push("m")


@as_root
async def test_a_directory_of_another_user_is_refused(files):
    files.admin.mkdir(mode=0o700)
    os.chown(files.admin, 12345, 12345)
    with pytest.raises(UnsafeDirectory, match="belongs to another user"):
        await files.push("m")


async def test_no_directory_is_touched_before_it_is_used(files):
    await files.ask(ReadHeartbeat("4711"))
    await files.ask(ListHeartbeats())
    await files.ask(ListIdentities(ROOM))
    await files.ask(CleanUpIdentities(ROOM))
    await files.ask(ListMessages(QUEUE))
    await files.ask(ReadReceipt(QUEUE, "m"))
    await files.ask(Sweep())
    assert list(files.root.iterdir()) == []


# Hostile files


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "socket", "directory"])
async def test_what_is_no_plain_file_is_put_aside_unopened_and_blocks_nothing(files, kind):
    secret = files.root / "secret.json"
    secret.write_bytes(b'{"message": "secret"}')
    files.drop("admin-4711-b.json")
    path = files.admin / "admin-4711-a.json"
    listener = socket.socket(socket.AF_UNIX)
    {
        "link": lambda: path.symlink_to(secret),
        "dangling link": lambda: path.symlink_to(files.root / "nowhere"),
        "pipe": lambda: os.mkfifo(path),
        "socket": lambda: listener.bind(str(path)),
        "directory": lambda: path.mkdir(),
    }[kind]()
    age(path, 60)
    await files.lease()
    claim = await files.take()
    listener.close()
    assert (claim.name, claim.raw) == ("admin-4711-b.json", GOOD)
    assert len(files.names(".bad")) == 1
    assert [level for level, _ in files.told] == ["WARNING"]
    assert secret.exists()


@as_root
async def test_a_file_of_another_user_is_put_aside(files):
    path = files.drop("admin-4711-a.json")
    os.chown(path, 12345, 12345)
    await files.lease()
    assert await files.take() is None
    assert len(files.names(".bad")) == 1


async def test_a_claim_that_became_a_link_is_put_aside(files):
    secret = files.root / "secret.json"
    secret.write_bytes(GOOD)
    await files.push("m")
    await files.lease()
    await files.take()
    (claimed,) = (files.admin / ".claim" / "4711").iterdir()
    claimed.unlink()
    claimed.symlink_to(secret)
    assert await files.take() is None
    assert len(files.names(".bad")) == 1


async def test_hostile_identities_stay_inside_their_directory(files):
    for participant in ("../../../evil", "nul\0", "p" * 5000, "/etc/passwd"):
        await files.ask(identity(participant, "../" + participant))
    for path in files.identities.rglob("*.json"):
        assert path.relative_to(files.identities).parts[1:] == (path.name,)
    assert [path.name for path in files.root.iterdir()] == ["identities"]


async def test_an_identity_under_another_participants_name_is_not_returned(files):
    await files.ask(identity("ann"))
    theirs, ours = (files.identities / identity_path(ROOM, each) for each in ("ann", "bob"))
    ours.write_bytes(theirs.read_bytes())
    assert await files.ask(ReadIdentity(ROOM, "bob")) is None
    other = files.identities / identity_path("https://example.test/other", "ann")
    other.parent.mkdir()
    other.write_bytes(theirs.read_bytes())
    theirs.with_name(identity_path(ROOM, "eve").split("/")[1]).write_bytes(b'{"room_url": 1}')
    assert await files.ask(ReadIdentity("https://example.test/other", "ann")) is None
    assert await files.ask(ListIdentities("https://example.test/other")) == []


async def test_a_damaged_identity_is_not_read_and_can_be_written_again(files):
    path = files.identities / identity_path(ROOM, "ann")
    await files.ask(identity())
    path.write_bytes(b"\xff{")
    assert await files.ask(ReadIdentity(ROOM, "ann")) is None
    await files.ask(identity(updated_ms=1_000_000_000_000 + int(time.time())))
    await files.ask(identity())
    assert await files.ask(ReadIdentity(ROOM, "ann")) is not None


LONG = ["-:" * 64, "a-" * 64, ":" * 127 + "a", "." * 128, "a" * 126 + "-:"]


@pytest.mark.parametrize("bot_id", [".", "..", "a..b", ":" * 40, "-", *LONG])
async def test_any_bot_id_has_its_queue(files, bot_id):
    queue = Queue("bot", bot_id)
    await files.push("m", queue=queue)
    await files.lease(queue, own(bot_id, "one"))
    claim = await files.take(queue=queue)
    await files.take(Done(claim.token, "m"), queue=queue)
    await files.ask(beat(bot_id))
    assert await files.ask(ReadReceipt(queue, "m")) == "handled"
    assert (await files.ask(ReadHeartbeat(bot_id))).bot_id == bot_id
    assert sorted(path.name for path in files.root.iterdir()) == ["admin", "heartbeats"]
