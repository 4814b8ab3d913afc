"""The parts that a round of steps falls into on a Redis Cluster: what one node carries out as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .cluster_map import ClusterMap, Node, Redirect, keys_in, redirect_in, slot_of_all
from .link import Command
from .packed import Packed, pack
from .redis_errors import ErrorReply
from .redis_scripts import Call, RedisCommand, Script, Step
from .redis_transaction import only_reads

_MULTI, _EXEC, _ASKING = pack((b"MULTI",)), pack((b"EXEC",)), pack((b"ASKING",))
_AGAIN = ("MOVED", "ASK", "TRYAGAIN", "NOSCRIPT")
_MOST_NODES = 1_024  # a SCAN's cursor tells which node it is at


class Unit:
    """Commands of one step whose keys share a slot, or one command.

    Args:
        commands: the commands.
        places: where the reply to each belongs: the step, and the place in it.
        slot: the slot; None if any node will do.
        whole: whether they are to be carried out all or not at all.
        node: who is to be asked; None for the node that has the slot.

    Attributes:
        asks: whether a node is asked that is only about to get the slot.
        error: what kept the node from carrying it out; then it is to be sent again.
        redirect: where to, if the node said so.
        replies: once it was carried out or refused.
    """

    def __init__(
        self,
        commands: list[RedisCommand],
        places: list[tuple[int, int]],
        slot: int | None,
        *,
        whole: bool = False,
        node: Node | None = None,
    ) -> None:
        self.commands = commands
        self.places = places
        self.slot = slot
        self.whole = whole
        self.node = node
        self.asks = False
        self.error: ErrorReply | None = None
        self.redirect: Redirect | None = None
        self.replies: list[Any] | None = None

    @property
    def count(self) -> int:
        """How many replies a node gives to it."""
        return len(self.commands) + 2 * self.whole + self.asks

    def render(self, known: set[Script]) -> list[Command | Packed]:
        """Return what is sent.

        Args:
            known: the scripts that the node knows; those that it learns from this are added.
        """
        words: list[Command | Packed] = [_ASKING] if self.asks else []
        words += [_MULTI] if self.whole else []
        for command in self.commands:
            if isinstance(command, Call):
                words.append(command.by_name() if command.script in known else command.in_full())
                known.add(command.script)
            else:
                words.append(command)
        return [*words, _EXEC] if self.whole else words

    def settle(self, replies: Sequence[Any], node: Node) -> bool:
        """Take a node's replies. Returns whether the connection can still be used."""
        answers = list(replies[1:] if self.asks else replies)
        usable = True
        if self.whole:
            begun, *answers, executed = answers
            if isinstance(executed, list) and len(executed) == len(answers):
                answers = executed
            elif isinstance(begun, ErrorReply) or not any(isinstance(each, ErrorReply) for each in answers):
                # It was refused as a whole; see `Transactions`. A redirection has ended the transaction.
                found = begun if isinstance(begun, ErrorReply) else executed
                usable = found is executed and isinstance(found, ErrorReply) and found.code in _AGAIN
                error = found if isinstance(found, ErrorReply) else ErrorReply("ERR it was not carried out")
                answers = [error] * len(answers)
        again = (each for each in answers if isinstance(each, ErrorReply) and each.code in _AGAIN)
        self.error = next(again, None)
        self.redirect = redirect_in(self.error, node)
        self.replies = answers if self.error is None else None
        return usable

    def give_up(self) -> None:
        """Answer with what kept it from being carried out: the cluster is not ready for it."""
        error = self.error or ErrorReply("TRYAGAIN")
        if error.code != "TRYAGAIN":
            error = ErrorReply(f"TRYAGAIN it was sent from node to node: {error}")
        self.replies = [error] * len(self.commands)


class Round:
    """A round of steps as units, and their replies put back in order.

    Args:
        steps: the steps.
        topology: who has which slots.

    Raises:
        TypeError, UnicodeError: when one of them cannot be sent.
    """

    def __init__(self, steps: Sequence[Step | Packed], topology: ClusterMap) -> None:
        self.units: list[Unit] = []
        self._answers: list[list[list[Any]]] = []
        self._steps: list[Step] = []
        self._nodes = topology.primaries()[:_MOST_NODES]
        for number, step in enumerate(steps):
            if isinstance(step, Packed):
                raise TypeError("what is packed does not tell where its keys are")
            self._steps.append(step)
            self._answers.append([[] for _ in step])
            if len(step) > 1 and not only_reads(step):
                self._add_whole(number, step)
            else:
                for place, command in enumerate(step):
                    self._add(command, (number, place))

    def replies(self) -> list[list[Any]]:
        """Return the replies to each step, once all units have theirs."""
        for unit in self.units:
            for (number, place), reply in zip(unit.places, unit.replies or (), strict=True):
                self._answers[number][place].append(reply)
        return [
            [self._merged(command, parts) for command, parts in zip(step, answers, strict=True)]
            for step, answers in zip(self._steps, self._answers, strict=True)
        ]

    def _add_whole(self, number: int, step: Step) -> None:
        """Add one unit for each slot; what has no key goes with the first."""
        by_slot: dict[int | None, Unit] = {}
        slots: list[int | None] = []
        for command in step:
            slot = slot_of_all(_keys(command))
            if isinstance(slot, ErrorReply):
                self._answers[number] = [[slot] for _ in step]
                return
            slots.append(slot)
        first = next((slot for slot in slots if slot is not None), None)
        for place, (command, slot) in enumerate(zip(step, slots, strict=True)):
            at = first if slot is None else slot
            unit = by_slot.setdefault(at, Unit([], [], at))
            unit.commands.append(command)
            unit.places.append((number, place))
            unit.whole = len(unit.commands) > 1
        self.units += by_slot.values()

    def _add(self, command: RedisCommand, place: tuple[int, int]) -> None:
        """Add one command, or its parts if it is about several slots or nodes."""
        name = "" if isinstance(command, Call) else command[0]
        if name == b"PING":
            self.units += [Unit([command], [place], None, node=node) for node in self._nodes]
        elif name == b"SCAN" and not isinstance(command, Call):
            cursor, at = divmod(int(command[1]), _MOST_NODES)
            node = self._nodes[min(at, len(self._nodes) - 1)]
            self.units.append(Unit([(name, cursor, *command[2:])], [place], None, node=node))
        elif name == b"EXISTS":
            by_slot: dict[int, list[Any]] = {}
            for key in _keys(command):
                slot = slot_of_all([key])
                if isinstance(slot, ErrorReply):
                    self._answers[place[0]][place[1]].append(slot)
                elif slot is not None:
                    by_slot.setdefault(slot, []).append(key)
            self.units += [Unit([(name, *keys)], [place], slot) for slot, keys in by_slot.items()]
        else:
            slot = slot_of_all(_keys(command))
            if isinstance(slot, ErrorReply):
                self._answers[place[0]][place[1]].append(slot)
            else:
                self.units.append(Unit([command], [place], slot))

    def _merged(self, command: RedisCommand, parts: list[Any]) -> Any:
        error = next((part for part in parts if isinstance(part, ErrorReply)), None)
        if error is not None or isinstance(command, Call):
            return error or parts[0]
        if command[0] == b"EXISTS":
            return sum(parts)
        if command[0] == b"SCAN":
            return self._with_node(int(command[1]) % _MOST_NODES, *parts[0])
        return parts[0]

    def _with_node(self, at: int, cursor: bytes, keys: list[bytes]) -> list[Any]:
        """Return a SCAN's reply, its cursor leading to the next node when this one has told all."""
        if int(cursor):
            return [b"%d" % (int(cursor) * _MOST_NODES + at), keys]
        return [b"%d" % (at + 1 if at + 1 < len(self._nodes) else 0), keys]


def _keys(command: RedisCommand) -> Sequence[Any]:
    return command.keys if isinstance(command, Call) else keys_in(command)
