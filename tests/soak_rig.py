"""The parts of ./scripts/soak for tests, and the lines that its ledgers hold."""

import sys

from .processes import ROOT

sys.path.append(str(ROOT / "scripts"))

from soaking.cast import cast as cast
from soaking.cast import share as share
from soaking.ledger import Follower as Follower
from soaking.ledger import Ledger as Ledger
from soaking.ledger import read as read
from soaking.options import Options as Options
from soaking.options import parse as parse
from soaking.place import Place as Place
from soaking.plot import can_draw as can_draw
from soaking.records import (
    Accepted,
    Beat,
    Ended,
    Handled,
    Refused,
    Rest,
    Seen,
    Started,
    Struck,
)
from soaking.schedule import draw as draw
from soaking.sightings import sightings as sightings
from soaking.spans import delays as delays
from soaking.spans import episodes as episodes
from soaking.spans import failovers as failovers
from soaking.spans import percentile as percentile
from soaking.verdict import judge as judge

ROOM = "https://soak.example/shared"


def accepted(message_id, at=1.0, *, began=None, target="own1", sender="sender1", **more):
    fields = {"where": "redis", "durable": False, "state": "stored", **more}
    began = at if began is None else began
    return Accepted(id=message_id, sender=sender, target=target, began=began, at=at, **fields)


def refused(began, at, *, sender="sender1", older=False):
    return Refused(sender=sender, target="own1", began=began, at=at, reason="no store took it", older=older)


def handled(message_id, at=2.0, *, bot="own1", bot_id="own1", redelivered=False, tries=1):
    return Handled(
        id=message_id,
        bot=bot,
        bot_id=bot_id,
        pid=1,
        at=at,
        redelivered=redelivered,
        tries=tries,
        source="redis",
    )


def struck(kind, at, healed, *, number=1, target="redis"):
    return Struck(number=number, kind=kind, target=target, how="", planned=at, at=at, healed=healed)


def started(bot_id, pid, at, *, bot="own1"):
    return Started(bot=bot, bot_id=bot_id, pid=pid, at=at)


def seen(at, *, problem="", away="", **bots):
    return Seen(began=at - 0.1, at=at, bots=bots, problem=problem, away=away)


def beat(pid=1, status="healthy", age=1.0):
    return Beat(pid=pid, status=status, age=age)


def rest(*, waiting=(), dead=()):
    return Rest(at=9.0, waiting=list(waiting), dead=list(dead))


def ended(name, code):
    return Ended(name=name, code=code, at=3.0)


def verdict_on(*records, persistence="aof"):
    options = Options(seed=1, persistence=persistence)
    return judge(records, options, cast(options))
