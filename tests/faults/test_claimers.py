"""Several who would take the same message: two programs on one file, and one message in both stores."""

import json
import subprocess
import sys
from collections import Counter

import anyio
import pytest

from .. import redis_bots, redis_server
from ..bot_rig import until
from ..file_rig import files as files
from ..redis_bots import attentive
from ..store_worlds import done_with

servers = redis_server.servers
place = redis_bots.place
COUNT = 200

# A program that is not ours: it claims as ours do, by a rename, and writes down what it got.
STRANGER = """
import os, sys, time
folder, mine, most = sys.argv[1:]
os.mkdir(mine)
taken, end = 0, time.monotonic() + 10
while taken < int(most) and time.monotonic() < end:
    names = [name for name in os.listdir(folder) if name.startswith("admin-4711-")]
    for name in sorted(names)[:1]:  # the oldest: the one that ours takes next
        time.sleep(0.0002)  # so that ours may come in between
        try:
            os.rename(f"{folder}/{name}", f"{mine}/{name}")
        except FileNotFoundError:
            continue
        taken += 1
        if taken == 1:
            print("began", flush=True)
    if not names:
        break
"""


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def take_all(files):
    await files.lease()
    taken, done = [], None
    while (claim := await files.take(done)) is not None:
        taken.append(claim.name)
        done = done_with(claim)
    return taken


def test_of_two_claimers_of_one_file_one_wins(files):
    names = [f"admin-4711-{number:03}.json" for number in range(COUNT)]
    for number, name in enumerate(names):
        files.drop(name, b'{"id":"m%d","message":"x"}' % number, age_s=COUNT - number)
    mine = files.root / "mine"
    command = [sys.executable, "-c", STRANGER, files.admin, mine, str(COUNT // 2)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout.readline() == b"began\n"
        ours = anyio.run(take_all, files)
    theirs = [path.name for path in mine.iterdir()]
    print(f"{len(ours)} are ours, {len(theirs)} theirs")
    assert Counter([*ours, *theirs]) == Counter(names)
    assert ours
    assert theirs


async def test_one_message_in_both_stores_is_shown_once(place):
    async with attentive(place.settings(), forward_every_s=0.1) as fleet:
        sent = await fleet.client.send("ada", "sent to nobody yet")
        (spooled,) = place.spooled()
        assert sent.id in spooled
        assert place.redis.llen("admin:queue:ada") == 1
        raw = json.dumps({"id": "twin", "message": "twin"})
        (place.folder / "admin_message" / "admin-ada-twin.json").write_text(raw)
        place.redis.rpush("admin:queue:ada", raw)
        bot = await fleet.start()
        await until(lambda: {"twin", "sent to nobody yet"} <= set(bot.reader.texts), 10)
        assert (await fleet.client.send("ada", "last", wait=10)).state == "handled"
        await until(lambda: place.spooled() == [] and not place.redis.exists("admin:queue:ada"), 10)
    assert sorted(bot.reader.texts) == ["last", "sent to nobody yet", "twin"]
