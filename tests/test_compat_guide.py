"""The guide's code runs as it stands there, on both branches, and no program outlives its work."""

import signal

import anyio
import pytest

from . import compat_rig, processes, redis_server

servers = redis_server.servers
scripts = processes.scripts
branch = compat_rig.branch
on_redis = compat_rig.on_redis

INSTALL = "import botvisor.compat\nbotvisor.compat.install()\n"

CLIENT = """
from redis_client import get_redis_client

async def example():
    client = await get_redis_client()
    await client.send_heartbeat(12345, "https://room.url", ["user1", "user2"])
    data = await client.get_heartbeat(12345)
    await client.write_identity("room_url", "participant_id", {"name": "John"})
    await client.send_admin_message(12345, "Hello bot!")
    print(data["pid"], data["participants"], await client.read_identity("room_url", "participant_id"))

def sync_example():
    from redis_heartbeat_migration import get_heartbeat_sender
    sender = get_heartbeat_sender()
    print("sender" if sender else "none")
    if sender:
        sender(12345, "https://room.url", ["user1", "user2"])

asyncio.run(example())
sync_example()
"""

GETTERS = """
from redis_heartbeat_migration import get_heartbeat_sender, get_heartbeat_reader
heartbeat_sender = get_heartbeat_sender()
heartbeat_reader = get_heartbeat_reader()

from redis_identity_migration import get_identity_writer, get_identity_scanner
identity_writer = get_identity_writer()
identity_scanner = get_identity_scanner()

from redis_admin_migration import get_write_admin_message, get_admin_message_polling_loop
admin_writer = get_write_admin_message()
admin_poller = get_admin_message_polling_loop()

found = [heartbeat_sender, heartbeat_reader, identity_writer, identity_scanner, admin_writer, admin_poller]
print(6 - found.count(None))
"""

HEALTH = """
from redis_client import check_redis_available

async def check():
    is_available = await check_redis_available()
    print(is_available)

asyncio.run(check())
"""

FALLBACK = """
from redis_heartbeat_migration import get_heartbeat_sender, write_heartbeat_file
pid, room_url, participants = 12345, "https://room.url", ["user1"]

redis_sender = get_heartbeat_sender()
if redis_sender:
    redis_sender(pid, room_url, participants)
else:
    write_heartbeat_file(pid, room_url, participants)

async def read():
    from redis_client import get_redis_client
    print((await (await get_redis_client()).get_heartbeat(pid))["room_url"])

asyncio.run(read())
"""

RECOVERY = """
from loguru import logger
from redis_client import get_redis_client
pid, room_url, participants = 12345, "https://room.url", ["user1"]

async def main():
    client = await get_redis_client()
    try:
        await client.send_heartbeat(pid, room_url, participants)
    except Exception as e:
        logger.warning(f"Redis heartbeat failed, using file fallback: {e}")

asyncio.run(main())
"""

DEBUG = """
import logging
logging.getLogger('redis_client').setLevel(logging.DEBUG)
"""


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def run(scripts, branch, source, *, limit_s=10.0, install=INSTALL, **env):
    """Run a program to its end; returns the lines it printed, and those of its log without their times."""
    program = scripts.start(install + source, **{**branch.variables(), "LOGURU_LEVEL": "INFO", **env})
    code = await anyio.to_thread.run_sync(program.ends, limit_s)
    assert code == 0, program.stderr
    return program.out, [line.rpartition(" - [")[2] for line in program.err]


async def test_the_basic_client(scripts, branch):
    out, err = await run(scripts, branch, CLIENT)
    assert out[0].startswith("12345 ['user1', 'user2'] {'name': 'John', 'participant_id': 'participant_id'")
    assert out[1] == ("sender" if branch.on_redis else "none")
    lines = [
        f"{branch.bracket}-heartbeat] Sent heartbeat for bot 12345",
        f"{branch.bracket}-identity] Stored identity for participant participant_id",
        f"{branch.bracket}-admin] Sent admin message to bot 12345 via {branch.word}",
    ]
    assert err == lines + lines[:1] * branch.on_redis


async def test_the_migration_modules(scripts, branch):
    assert await run(scripts, branch, GETTERS) == (["6" if branch.on_redis else "0"], [])


async def test_the_health_check(scripts, branch):
    assert await run(scripts, branch, HEALTH) == ([str(branch.on_redis)], [])


async def test_the_automatic_fallback(scripts, branch):
    out, err = await run(scripts, branch, FALLBACK)
    assert out == ["https://room.url"]
    assert err == [f"{branch.bracket}-heartbeat] Sent heartbeat for bot 12345"]


async def test_the_error_recovery(scripts, branch):
    _, err = await run(scripts, branch, RECOVERY)
    assert err == [f"{branch.bracket}-heartbeat] Sent heartbeat for bot 12345"]


async def test_the_error_recovery_without_any_store(scripts, on_redis):
    on_redis.server.kill()
    _, err = await run(scripts, on_redis, RECOVERY, BOT_FILE_FALLBACK="false")
    assert "Redis heartbeat failed, using file fallback" in err[-1]


async def test_the_debug_mode(scripts, branch):
    _, err = await run(scripts, branch, DEBUG + RECOVERY, LOGURU_LEVEL="DEBUG")
    assert any(f"{branch.bracket}-client] 1 commands took " in line for line in err)


async def test_redis_that_is_away_has_the_guides_line(scripts, on_redis):
    on_redis.server.kill()
    _, err = await run(scripts, on_redis, GETTERS)
    assert err.count("redis-client] Ping failed: Connection refused - falling back to files") == 1


async def test_the_names_are_not_importable_before(scripts, branch):
    source = "try:\n    import redis_client\nexcept ImportError as error:\n    print(error)\n"
    assert (await run(scripts, branch, source, install=""))[0] == ["No module named 'redis_client'"]


async def test_they_stand_in_for_modules_of_the_same_name(scripts, branch):
    (branch.folder / "redis_client.py").write_text("raise AssertionError('the old one')")
    source = "import redis_client, redis_admin_migration\nprint(redis_client.__name__)"
    assert (await run(scripts, branch, INSTALL + source))[0] == ["botvisor.compat.redis_client"]


@pytest.mark.parametrize("kind", ["asyncio", "uvloop", "trio"])
async def test_a_loop_that_ends_without_a_close_ends_at_once_and_in_silence(scripts, branch, kind):
    source = """
    from redis_client import get_redis_client
    async def main():
        client = await get_redis_client()
        await client.send_admin_message(1, "hi")
        await client.get_admin_messages(1)
        print("done")
    backend = {'uvloop': 'asyncio'}.get(KIND, KIND)
    began = time.monotonic()
    anyio.run(main, backend=backend, backend_options={'use_uvloop': True} if KIND == 'uvloop' else {})
    print(time.monotonic() - began < 2)
    """
    env = {"PYTHONWARNINGS": "default", "LOGURU_LEVEL": "WARNING", "PYTHONDONTWRITEBYTECODE": "1"}
    source = INSTALL + f"KIND = {kind!r}\n" + "\n".join(line[4:] for line in source.splitlines())
    assert await run(scripts, branch, source, install="", **env) == (["done", "True"], [])


async def test_a_polling_loop_that_nobody_cancelled_ends_with_its_loop(scripts, on_redis):
    source = """
from redis_admin_migration import get_admin_message_polling_loop
async def process(event): pass
async def main():
    task = asyncio.create_task(get_admin_message_polling_loop()(1, process))
    await asyncio.sleep(0.3)
asyncio.run(main())
print("done")
"""
    assert (await run(scripts, on_redis, source, PYTHONWARNINGS="default", LOGURU_LEVEL="WARNING")) == (
        ["done"],
        [],
    )


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "threading.Thread(target=sys.exit).start()"])
async def test_a_portal_keeps_no_program_alive(scripts, on_redis, end):
    source = "from redis_heartbeat_migration import get_heartbeat_sender\n"
    source += f"get_heartbeat_sender()(1, 'room', [])\nprint('done')\n{end}\n"
    program = scripts.start(INSTALL + source, **on_redis.variables(), LOGURU_LEVEL="WARNING")
    program.says("done")
    assert await anyio.to_thread.run_sync(program.ends, 4.0) == 0
    assert program.err == []


async def test_a_portal_keeps_no_program_alive_whose_redis_hangs(scripts, on_redis):
    source = "from redis_heartbeat_migration import get_heartbeat_sender\nsend = get_heartbeat_sender()\n"
    source += "threading.Thread(target=send, args=(1, 'room', []), daemon=True).start()\n"
    source += "print('ready')\ntime.sleep(0.5)\nprint('done')\n"
    program = scripts.start(INSTALL + source, **on_redis.variables())
    program.says("ready")
    on_redis.server.process.send_signal(signal.SIGSTOP)
    program.says("done")
    assert await anyio.to_thread.run_sync(program.ends, 4.0) == 0
    on_redis.server.process.send_signal(signal.SIGCONT)


async def test_a_fork_has_a_portal_of_its_own_and_the_parents_goes_on(scripts, on_redis):
    source = """
from redis_heartbeat_migration import get_heartbeat_reader, get_heartbeat_sender
send, read = get_heartbeat_sender(), get_heartbeat_reader()
send(1, "parent", [])
child = os.fork()
if child == 0:
    send(2, "child", [])
    print("child", read(1)["room_url"])
    sys.exit(0)
for _ in range(20):
    send(1, "parent", [])
print("exit", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print("parent", read(2)["room_url"])
"""
    out, _ = await run(scripts, on_redis, source)
    assert sorted(out) == ["child parent", "exit 0", "parent child"]
