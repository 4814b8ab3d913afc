"""Redis's doorbell: every arrival is followed by a ring."""

import statistics
import time

import anyio
import anyio.lowlevel
import pytest

from botvisor.actors.backend import redis_doorbell
from botvisor.store import Queue
from botvisor.wire import admin_queue

from . import redis_server, two_loops
from .redis_doorbell_rig import CHANNEL, CTL, QUEUE, ROOM, Asker, Q, ringing

servers = redis_server.servers
anyio_backend = two_loops.anyio_backend


@pytest.mark.parametrize("name", redis_server.versions())
async def test_a_published_message_rings(servers, name):
    async with ringing(await servers(name=name), QUEUE, Queue("bot", "4712")) as (tower, bell, other):
        tower.client.publish(CHANNEL, "{}")
        await bell.rings()
        assert other.count == 2


async def test_how_soon_it_rings(servers):
    queues = [Queue("bot", f"bot-{number}") for number in range(200)]
    rung, took = {}, []
    async with ringing(await servers()) as (tower,):
        for queue in queues:
            tower.doorbell.subscribe(queue, lambda key=queue.key: rung.setdefault(key, time.perf_counter()))
        await tower.until(lambda: len(rung) == len(queues))
        for queue in queues:
            del rung[queue.key]
            sent_at = time.perf_counter()
            tower.client.publish(f"admin:bot:{queue.key}", "{}")
            with anyio.fail_after(5):
                while queue.key not in rung:
                    await anyio.lowlevel.checkpoint()
            took.append(rung[queue.key] - sent_at)
    p50, p99 = statistics.median(took), statistics.quantiles(took, n=100)[-1]
    print(f"publish to ring: p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms")
    assert p50 < 0.1


async def test_every_queue_of_a_bot_has_its_channel(servers):
    queues = [Queue("room", ROOM), Queue("room", ROOM + "/"), Queue("pre-spawn", ROOM)]
    async with ringing(await servers(), *queues) as (tower, *bells):
        for key, bell in zip((ROOM, ROOM + "/", f"pre-spawn:{ROOM}"), bells, strict=True):
            tower.client.publish(f"admin:bot:{key}", "{}")
            await bell.rings()


async def test_who_unsubscribes_is_rung_no_more_and_the_last_one_gives_the_channel_up(servers):
    async with ringing(await servers(), QUEUE, QUEUE) as (tower, gone, stays):
        assert tower.listeners() == 1
        gone.end()
        gone.end()
        before = gone.count
        tower.client.publish(CHANNEL, "{}")
        await stays.rings()
        assert gone.count == before
        stays.end()
        await tower.until(lambda: tower.listeners() == 0)
        again = tower.subscribe(QUEUE)
        await again.rings()  # for the confirmation
        tower.client.publish(CHANNEL, "{}")
        await again.rings()


async def test_who_subscribes_while_it_runs_is_listened_for_at_once(servers):
    async with ringing(await servers()) as (tower,):
        with anyio.fail_after(2):
            for number in range(5):
                await tower.subscribe(Queue("bot", str(number))).rings()


async def test_a_thousand_channels_share_one_connection(servers):
    async with ringing(await servers()) as (tower,):
        began = time.perf_counter()
        bells = {key: tower.subscribe(Queue("bot", key)) for key in map(str, range(1000))}
        await tower.until(lambda: all(bell.count for bell in bells.values()))
        print(f"1,000 channels confirmed within {(time.perf_counter() - began) * 1e3:.0f} ms")
        for key in ("0", "999"):
            rung = bells[key].count
            tower.client.publish(f"admin:bot:{key}", "{}")
            await tower.until(lambda bell=bells[key], rung=rung: bell.count > rung)
        first = tower.connections()
        assert len(first) == 1
        tower.client.client_kill_filter(_type="pubsub")
        rung = {key: bell.count for key, bell in bells.items()}
        await tower.until(lambda: all(bell.count > rung[key] for key, bell in bells.items()))
        assert len(tower.connections()) == 1
        assert tower.connections() != first


async def test_a_writer_that_publishes_before_it_pushes_is_rung_for_after_it_pushed(servers):
    async with ringing(await servers(), QUEUE) as (tower, bell):
        tower.client.publish(CHANNEL, "{}")
        await anyio.sleep(0.03)
        tower.client.rpush(Q, "{}")
        rung = bell.count
        await tower.until(lambda: bell.count > rung)
        await anyio.sleep(0.5)
        assert bell.count <= 2 + 1 + 4  # start and confirmation, the bell, and its second looks


async def test_what_nobody_rang_for_is_found_each_second(servers, monkeypatch):
    monkeypatch.setattr(redis_doorbell, "LOOK_EVERY_S", redis_doorbell.LOOK_EVERY_S / 4)
    server = await servers()
    asker = Asker(server)
    targets = [QUEUE, "4711", Queue("room", ROOM), "4712"]
    async with ringing(server, *targets, ask=asker) as (tower, queue, control, room, other):
        await tower.until(lambda: asker.asked)
        keys = (Q.encode(), CTL.encode(), admin_queue(ROOM).encode())
        assert {len(commands) for commands in asker.asked} == {1}
        assert asker.asked[0][0][:4] == (b"EXISTS", *keys)
        tower.client.rpush(Q, "{}")
        await queue.rings(2)
        await queue.rings(2)  # for as long as it is there
        tower.client.delete(Q)
        tower.client.rpush(CTL, "{}")
        await control.rings(2)
        assert (room.count, other.count) == (2, 1)


async def test_without_the_right_to_subscribe_it_polls_and_says_so_once(servers):
    server = await servers(
        "user default on nopass ~* +@all resetchannels &identity-changed:*", name="redis-6"
    )
    changes = []
    async with ringing(server, QUEUE, ask=Asker(server), listening=False) as (tower, bell):
        tower.subscribe(Queue("room", ROOM))
        tower.doorbell.on_broadcast(print)
        tower.doorbell.on_identity_changed(ROOM, changes.append)
        await tower.until(lambda: changes)  # what is allowed is heard
        tower.client.rpush(Q, "{}")
        await bell.rings(3)
        (warning,) = tower.warnings()
        assert "&admin:bot:* &admin:broadcast" in warning
        assert "+subscribe" in warning
        assert len(tower.connections()) == 1


async def test_without_the_right_to_ask_everybody_is_rung_each_second(servers):
    server = await servers("user default on nopass ~* &* +@all -exists", name="redis-6")
    async with ringing(server, QUEUE, ask=Asker(server)) as (tower, bell):
        rung = bell.count
        await tower.until(lambda: bell.count >= rung + 2)
        assert len(tower.warnings()) == 1


async def test_broadcasts_are_handed_over(servers):
    got = []
    async with ringing(await servers()) as (tower,):
        end = tower.doorbell.on_broadcast(got.append)
        await tower.until(lambda: tower.client.publish("admin:broadcast", b"\xff{}"))
        await tower.until(lambda: b"\xff{}" in got)
        tower.client.publish("admin:broadcast", bytes(2_000_000))
        tower.client.publish("admin:broadcast", "last")
        await tower.until(lambda: b"last" in got)
        assert max(map(len, got)) < 10
        end()
        await tower.until(lambda: tower.listeners("admin:broadcast") == 0)


async def test_changed_identities_are_named_and_a_new_connection_may_have_missed_some(servers):
    changes = []
    async with ringing(await servers()) as (tower,):
        tower.doorbell.on_identity_changed(ROOM, changes.append)
        await tower.until(lambda: changes == [None])
        tower.client.publish(f"identity-changed:{ROOM}", "Günther")
        await tower.until(lambda: changes[1:] == ["Günther"])
        tower.client.client_kill_filter(_type="pubsub")
        await tower.until(lambda: changes[2:] == [None])
