"""What became of the messages, from the ledgers alone: a pure function."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from .cast import Cast
from .options import Options
from .records import Accepted, AnyRecord, Ended, Handled, Refused, Rest

T = TypeVar("T")
NAMED = 20  # of each sort of finding, in the result


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A message that went wrong: everything that the ledgers tell of it."""

    id: str
    accepted: Accepted | None
    handled: list[Handled]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the messages. Each number counts ids, unless it says otherwise.

    Args:
        sent: were accepted.
        refused: how many calls failed; what they sent may have arrived all the same.
        handled: reached `main`.
        lost: were promised to be kept, and neither reached `main`, nor wait, nor were given up.
        lost_unpromised: the same, of what only a Redis held that keeps nothing for sure.
        duplicated: reached `main` more than once.
        redelivered: how many deliveries were marked as a repeat.
        unmarked: reached `main` a second time without a mark.
        misdelivered: reached a bot that they were not for.
        dead: were given up, visibly.
        waiting: still waited at the end.
        unacknowledged: reached `main` although their sender was told nothing, or that they failed.
        false_receipts: had a receipt that says handled, and never reached `main`.
        ended: processes that ended by themselves.
        findings: the first of each sort, with their story.
    """

    sent: int
    refused: int
    handled: int
    lost: int
    lost_unpromised: int
    duplicated: int
    redelivered: int
    unmarked: int
    misdelivered: int
    dead: int
    waiting: int
    unacknowledged: int
    false_receipts: int
    ended: list[Ended]
    findings: dict[str, list[Finding]]

    @property
    def exit_code(self) -> int:
        """The exit code of a run with this verdict; see the help."""
        codes = {
            1: self.lost + self.false_receipts,
            3: self.unmarked,
            6: self.misdelivered,
            4: self.waiting,
            5: len(self.ended),
        }
        return next((code for code, count in codes.items() if count), 0)


def judge(records: Sequence[AnyRecord], options: Options, cast: Cast) -> Verdict:
    """Return the verdict on what the ledgers hold."""
    accepted = {record.id: record for record in records if isinstance(record, Accepted)}
    handled: dict[str, list[Handled]] = defaultdict(list)
    for record in sorted(of(records, Handled), key=lambda each: each.at):
        handled[record.id].append(record)
    rests = of(records, Rest)
    dead = {message_id for rest in rests for message_id in rest.dead}
    waiting = {message_id for rest in rests[-1:] for message_id in rest.waiting}
    gone = [message_id for message_id in accepted if message_id not in handled and message_id not in dead]
    lost = [message_id for message_id in gone if message_id not in waiting]
    wrong = {
        "lost": [each for each in lost if is_promised(accepted[each], options)],
        "lost_unpromised": [each for each in lost if not is_promised(accepted[each], options)],
        "unmarked": [each for each, times in handled.items() if has_unmarked_repeat(times)],
        "misdelivered": [
            each
            for each, times in handled.items()
            if each in accepted and not all(is_for(accepted[each].target, time, cast) for time in times)
        ],
        "waiting": [each for each in gone if each in waiting],
        "false_receipts": [
            each for each, record in accepted.items() if record.state == "handled" and each not in handled
        ],
    }
    return Verdict(
        sent=len(accepted),
        refused=len(of(records, Refused)),
        handled=len(handled),
        duplicated=sum(len(times) > 1 for times in handled.values()),
        redelivered=sum(time.redelivered for times in handled.values() for time in times),
        dead=len(dead),
        unacknowledged=len(handled.keys() - accepted.keys()),
        ended=of(records, Ended),
        findings={
            sort: [
                Finding(id=each, accepted=accepted.get(each), handled=handled.get(each, []))
                for each in ids[:NAMED]
            ]
            for sort, ids in wrong.items()
            if ids
        },
        **{sort: len(ids) for sort, ids in wrong.items()},
    )


def of(records: Iterable[AnyRecord], kind: type[T]) -> list[T]:
    """Return the lines of one kind."""
    return [record for record in records if isinstance(record, kind)]


def is_promised(message: Accepted, options: Options) -> bool:
    """Return whether a message may not be lost: it is durable, or Redis syncs before it answers."""
    return message.durable or options.persistence == "aof"


def has_unmarked_repeat(times: Sequence[Handled]) -> bool:
    """Return whether a message came again without a mark; the times are in their order."""
    return any(not time.redelivered for time in times[1:])


def is_for(target: str, time: Handled, cast: Cast) -> bool:
    """Return whether the bot that handled a message serves its target."""
    return target == time.bot_id or any(bot.name == time.bot and bot.room == target for bot in cast.bots)
