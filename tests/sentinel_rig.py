"""A primary and its replica, watched by three Sentinels: all real, on loopback, ended with the test.

They are set up as docs/how-to/sentinel.md says, but for a shorter wait. Take the fixture over by its name:
``from . import sentinel_rig`` and ``watched = sentinel_rig.watched``; it needs ``servers =
redis_server.servers`` beside it.
"""

import pytest

from .bot_rig import until
from .readme import blocks
from .redis_bots import Place

PAGE = "docs/how-to/sentinel.md"
SERVICE = "calls"
SENTINELS = 3
SERVER, SENTINEL, NO_REPLICA = [code for language, code in blocks(PAGE) if language == "conf"]
DOWN_AFTER_MS = 1000


class Watched:
    """Two servers, of which the Sentinels choose the primary.

    Args:
        places: the primary and the replica, as they were at the start.
        sentinels: the Sentinels' servers.
        folder: the parent of the directories that bots share.
    """

    def __init__(self, places, sentinels, folder):
        import redis

        self.places = places
        self.sentinels = sentinels
        self.folder = folder
        self._clients = [redis.Redis(port=each.port, protocol=2) for each in sentinels]
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in sentinels)
        self.url = f"redis+sentinel://{hosts}/{SERVICE}"

    def settings(self, **more):
        """The settings of a process that knows the Sentinels alone."""
        return self.places[0].settings(folder=self.folder, url=self.url, **more)

    def named(self):
        """The ports of the primaries that the Sentinels name."""
        return {client.sentinel_get_master_addr_by_name(SERVICE)[1] for client in self._clients}

    def agree_on(self, place):
        return self.named() == {place.server.port}

    def caught_up(self):
        """Whether the replica has all that the primary has."""
        primary, replica = (place.redis.info("replication") for place in self.places)
        return primary["master_repl_offset"] == replica["slave_repl_offset"]

    def fail_over(self):
        """Have the primary replaced though it is well, as before maintenance."""
        self._clients[0].sentinel_failover(SERVICE)

    async def know_each_other(self):
        def all_do():
            states = [client.sentinel_master(SERVICE) for client in self._clients]
            return all(
                state["num-other-sentinels"] == SENTINELS - 1 and state["num-slaves"] == 1 for state in states
            )

        await until(all_do, 20)

    def close(self):
        for client in [*self._clients, *(place.redis for place in self.places)]:
            client.close()


@pytest.fixture
async def watched(servers, tmp_path):
    """A `Watched` whose Sentinels know both servers and each other."""
    primary = await servers(*SERVER.splitlines())
    replica = await servers(*SERVER.splitlines(), f"replicaof 127.0.0.1 {primary.port}")
    watch = SENTINEL.replace("one.internal 6379", f"127.0.0.1 {primary.port}").splitlines()
    quick = f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}"
    sentinels = [await servers(*watch, quick, sentinel=True) for _ in range(SENTINELS)]
    rig = Watched([Place(each, tmp_path) for each in (primary, replica)], sentinels, tmp_path)
    try:
        await rig.know_each_other()
        yield rig
    finally:
        rig.close()
