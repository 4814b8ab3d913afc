"""Durable messages under care: sent again when Redis has lost them, kept no longer than they must be."""

import json
from functools import partial

import anyio
import msgspec
import pytest

from botvisor.actors.backend.outbox_tender import OutboxTender
from botvisor.errors import StoreUnavailable
from botvisor.store import AcquireLease, BuryMessage, Done, NextMessage, Queue, ReadReceipt

from . import failover_rig, redis_server, redis_world
from .failover_rig import LANE, LIST, ONE, QUEUE, of_level, push

rigs = failover_rig.rigs
lines = failover_rig.lines
servers = redis_server.servers
probed_soon = failover_rig.probed_soon
pytestmark = pytest.mark.usefixtures("probed_soon")
anyio_backend = redis_world.one_loop

KEPT = "admin:kept:{admin:queue:4711}:m"
FILES = Queue("bot", "4711", "file")


def durable(message_id="m", queue=QUEUE):
    return msgspec.structs.replace(push(message_id, queue), durable=True)


class Sender:
    """A process that sends durable messages, and tends them when it is told to."""

    def __init__(self, rig, **times):
        self.rig = rig
        self.outbox = rig.files.outbox
        self.tender = OutboxTender(rig.files.outbox, rig.store, rig.log, **times)
        # An older bot lives there, so what is sent to it goes to Redis alone.
        rig.client().hset("heartbeat:4711", mapping={"pid": 4711, "room_url": "", "participants": "[]"})

    async def send(self, message_id="m", queue=QUEUE):
        return await self.tender.send(durable(message_id, queue), self.rig.ask)

    async def tend(self, times=1):
        for _ in range(times):
            with anyio.fail_after(20):
                await self.tender.tend()

    def waiting(self, key=LIST):
        """What waits on Redis: ids, each with whether it is marked."""
        found = [json.loads(raw) for raw in self.rig.client().lrange(key, 0, -1)]
        return [(fields["id"], fields.get("resent", False)) for fields in found]

    async def claim(self, done=None, *, queue=LANE):
        await self.rig.ask(AcquireLease(queue, ONE))
        return await self.rig.ask(NextMessage(queue, "one", "first", done))

    async def handle(self, queue=LANE):
        claim = await self.claim(queue=queue)
        await self.claim(Done(claim.token, json.loads(claim.raw)["id"]), queue=queue)


@pytest.fixture
async def server(servers):
    """A server that keeps nothing over a restart."""
    return await servers()


@pytest.fixture
def sender(server, rigs):
    return Sender(rigs(server))


def lose_memory(server):
    assert server.talk(b"FLUSHALL\r\n") == b"+OK\r\n"


async def restart(server, rig):
    server.kill()
    await rig.lose()
    await server.start()
    await rig.back()


async def test_what_redis_has_lost_is_sent_again_once_and_marked(server, sender, lines):
    assert await sender.send() == "redis"
    assert 3500 < sender.rig.client().ttl(KEPT) <= 3600
    await restart(server, sender.rig)
    await sender.tend(5)
    assert sender.waiting() == [("m", True)]
    assert 3500 < sender.rig.client().ttl(KEPT) <= 3600
    assert len(sender.outbox) == 1  # it may be lost once more
    assert (
        len([text for text in of_level(lines, "WARNING") if "Sent again what Redis had lost: m" in text]) == 1
    )
    lose_memory(server)
    await sender.tend(2)
    assert sender.waiting() == [("m", True)]


async def test_what_redis_has_is_let_alone(sender):
    await sender.send()
    await sender.tend(3)
    await sender.claim()
    await sender.tend(3)
    assert (sender.waiting(), len(sender.outbox)) == ([], 1)


@pytest.mark.parametrize("end", ["handled", "dead"])
async def test_what_has_ended_is_kept_no_longer(sender, end):
    await sender.send()
    if end == "handled":
        await sender.handle()
    else:
        claim = await sender.claim()
        await sender.rig.ask(BuryMessage(LANE, "one", claim.token, "three tries"))
    await sender.tend()
    assert len(sender.outbox) == 0
    assert not list(sender.rig.admin.glob("outbox/*/*"))


async def test_either_the_mark_or_the_receipt_will_do(sender):
    client = sender.rig.client()
    await sender.send("m")
    await sender.send("n")
    client.delete(KEPT)
    client.ltrim(LIST, 0, 0)  # n's mark is there, and it is not
    await sender.tend(5)
    assert (sender.waiting(), len(sender.outbox)) == ([("m", False)], 2)


async def test_one_look_does_not_settle_it(server, sender):
    # A bot that has handled it may have yet to say so to a Redis that is new.
    await sender.send()
    lose_memory(server)
    await sender.tend()
    assert sender.waiting() == []
    sender.rig.client().zadd("admin:done:{admin:queue:4711}", {"m": 1})
    await sender.tend()
    assert (sender.waiting(), len(sender.outbox)) == ([], 0)


async def test_nothing_is_decided_while_redis_is_away(server, sender):
    await sender.send()
    server.kill()
    await sender.rig.lose()
    await sender.tend(5)
    assert (sender.rig.spooled(), len(sender.outbox)) == ([], 1)


async def test_a_push_that_failed_leaves_no_copy(sender):
    async def fail(_):
        assert len(list(sender.rig.admin.glob("outbox/*/*"))) == 1  # it was kept before anything was sent
        raise StoreUnavailable("no disk")

    with pytest.raises(StoreUnavailable, match="no disk"):
        await sender.tender.send(durable(), fail)
    assert not list(sender.rig.admin.glob("outbox/*/*"))
    await sender.tend(3)
    assert sender.waiting() == []


async def test_a_send_that_was_cancelled_leaves_no_copy(sender):
    for moment in (0.0, 0.0005, 0.001, 0.002, 0.005, 0.01):
        with anyio.move_on_after(moment):
            await sender.tender.send(durable(), lambda _: anyio.sleep(10))
    await anyio.sleep(0.1)  # what was in a thread has ended by now
    assert not list(sender.rig.admin.glob("outbox/*/*"))


async def test_an_outbox_that_cannot_be_written_sends_nothing(sender):
    sender.rig.admin.mkdir()
    (sender.rig.admin / "outbox").write_text("in the way")
    with pytest.raises(Exception, match="is not a directory"):
        await sender.send()
    assert sender.waiting() == []


async def test_a_message_that_was_spooled_is_known_until_redis_loses_it(server, sender):
    server.kill()
    assert (await sender.send()).where.startswith("spool@")
    await sender.tend(3)
    await server.start()
    await sender.rig.back()  # the forwarder has brought it to Redis
    assert (sender.waiting(), sender.rig.waiting()) == ([("m", False)], [])
    await sender.tend(3)
    assert (sender.waiting(), len(sender.outbox)) == ([("m", False)], 1)
    lose_memory(server)
    await sender.tend(2)
    assert sender.waiting() == []  # the spool has it yet, and sees to it
    await sender.rig.tend_again(2)
    assert sender.waiting() == [("m", True)]


async def test_a_message_that_a_bot_here_takes_from_the_spool_is_not_sent_again(server, sender):
    server.kill()
    await sender.send()
    claim = await sender.claim(queue=FILES)
    await server.start()
    await sender.rig.back()
    assert await sender.rig.ask(ReadReceipt(LANE, "m")) == "unknown"
    await sender.tend(5)
    assert (sender.waiting(), len(sender.outbox)) == ([], 1)
    await sender.claim(Done(claim.token, "m"), queue=FILES)
    await sender.tend()
    assert (sender.waiting(), len(sender.outbox)) == ([], 0)


async def test_what_redis_refuses_is_sent_again_later(server, sender, lines):
    await sender.send()
    lose_memory(server)
    sender.rig.client().config_set("maxmemory", 1)
    await sender.tend(3)
    assert [text for text in of_level(lines, "WARNING") if "Could not send m again" in text]
    sender.rig.client().config_set("maxmemory", 0)
    await sender.tend()
    assert sender.waiting() == [("m", True)]


async def test_what_is_too_old_is_given_up_with_one_error(server, rigs, lines):
    sender = Sender(rigs(server), give_up_s=0.0)
    await sender.send()
    await sender.tend(3)
    (error,) = of_level(lines, "ERROR")
    assert "Gave up m for bot 4711: not handled within 0 s; it is stored" in error
    assert (sender.waiting(), len(sender.outbox)) == ([("m", False)], 0)


async def test_what_was_handled_at_last_is_not_given_up(server, rigs, lines):
    sender = Sender(rigs(server), give_up_s=0.0)
    await sender.send()
    await sender.handle()
    await sender.tend()
    assert (of_level(lines, "ERROR"), len(sender.outbox)) == ([], 0)


async def test_two_senders_do_not_send_each_others_again(server, rigs, lines):
    one, two = Sender(rigs(server)), Sender(rigs(server))
    await one.send("a")
    await two.send("b")
    lose_memory(server)
    await one.tend(5)
    assert one.waiting() == [("a", True)]
    await two.tend(5)
    assert two.waiting() == [("a", True), ("b", True)]


async def test_many_messages_are_sent_again_each_once(server, sender):
    async with anyio.create_task_group() as group:
        for number in range(300):
            group.start_soon(partial(sender.send, f"m{number}"))
    lose_memory(server)
    await sender.tend(2)
    assert sorted(sender.waiting()) == sorted((f"m{number}", True) for number in range(300))
