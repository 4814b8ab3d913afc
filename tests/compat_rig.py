"""What the tests of `botvisor.compat` share: the environment of both branches, Redis and files.

Take the fixtures over by their names: ``from . import compat_rig`` and ``branch = compat_rig.branch``; they
need ``servers = redis_server.servers`` beside them.
"""

import json

import pytest

from botvisor.compat import portal

from .processes import environment


class Branch:
    """Where a test's modules keep everything.

    Args:
        name: ``redis`` or ``files``.
        word: what a line has for it.
        server: the server, on Redis.
        folder: the directories' parent.
    """

    def __init__(self, name, server, folder):
        self.name = name
        self.word = {"redis": "Redis", "files": "files"}[name]
        self.bracket = {"redis": "redis", "files": "file"}[name]
        self.server = server
        self.folder = folder
        self.redis = None
        if server is not None:
            import redis

            self.redis = redis.Redis(port=server.port, protocol=2)

    @property
    def on_redis(self):
        return self.name == "redis"

    def variables(self):
        more = {"USE_REDIS": "true", "REDIS_URL": self.server.url} if self.on_redis else {}
        return {
            name: value for name, value in environment(self.folder, **more).items() if name[:4] in _PREFIXES
        }

    def send(self, key, **message):
        """Send as older programs do."""
        raw = json.dumps(message)
        if self.on_redis:
            self.redis.publish(f"admin:bot:{key}", raw)
            self.redis.rpush(f"admin:queue:{key}", raw)
        else:
            place = self.folder / "admin_message"
            place.mkdir(mode=0o700, exist_ok=True)
            (place / f"admin-{key}-{len(list(place.iterdir())):04}.json").write_text(raw)

    def waiting(self, key):
        """How many messages wait for a bot, the one in flight left out."""
        if self.on_redis:
            return self.redis.llen(f"admin:queue:{key}")
        return len(list((self.folder / "admin_message").glob(f"admin-{key}-*.json")))


_PREFIXES = ("BOT_", "REDI", "USE_")


def _set(monkeypatch, branch):
    for name in ("USE_REDIS", "REDIS_URL", "BOT_ID", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    for name, value in branch.variables().items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["redis", "files"])
async def branch(request, servers, monkeypatch, tmp_path):
    """The environment of each branch in turn, as a `Branch`."""
    branch = Branch(request.param, await servers() if request.param == "redis" else None, tmp_path)
    _set(monkeypatch, branch)
    yield branch
    portal.close_all()
    if branch.redis is not None:
        branch.redis.close()


@pytest.fixture
async def on_redis(servers, monkeypatch, tmp_path):
    """The environment of Redis, as a `Branch`."""
    branch = Branch("redis", await servers(), tmp_path)
    _set(monkeypatch, branch)
    yield branch
    portal.close_all()
    branch.redis.close()


@pytest.fixture
def on_files(monkeypatch, tmp_path):
    """The environment without Redis, as a `Branch`."""
    branch = Branch("files", None, tmp_path)
    _set(monkeypatch, branch)
    return branch
