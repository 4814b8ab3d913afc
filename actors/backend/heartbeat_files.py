"""Heartbeats as files: one for each bot, replaced by each beat."""

from __future__ import annotations

import contextlib
import time

from botvisor.errors import MalformedMessage
from botvisor.heartbeat import Heartbeat, from_json, to_json
from botvisor.liveness import ENDED, age_s
from botvisor.mending import Dump, ForgetBot, ListDumps
from botvisor.store import ListHeartbeats, Queue, ReadHeartbeat, WriteHeartbeat
from botvisor.wire import (
    HEARTBEAT_TTL_S,
    MAX_MESSAGE_BYTES,
    STACK_SUFFIX,
    decode_id,
    heartbeat_file,
    stack_file,
)

from .directory import Directory
from .private_file import UnsafeFile
from .quarantine import Notify

_SUFFIX = ".json"
_REMEMBERED = 1_000


class HeartbeatFiles:
    """The heartbeats of a host.

    Args:
        directory: where they are.
        notify: told once of each file that cannot be read. It stays: its bot may be a newer version, and a
            lost one's file expires.
    """

    def __init__(self, directory: Directory, notify: Notify) -> None:
        self.directory = directory
        self._notify = notify
        self._told: set[str] = set()

    def write(self, command: WriteHeartbeat) -> None:
        """See `WriteHeartbeat`. It is not synced: the next one is seconds away."""
        self.directory.write(heartbeat_file(command.bot_id), to_json(command.fields), sync=False)

    def read(self, command: ReadHeartbeat) -> Heartbeat | None:
        """See `ReadHeartbeat`: None as well when it cannot be read."""
        beat = self._read(heartbeat_file(command.bot_id)) if self.directory.exists() else None
        if command.living and beat is not None:
            # Nobody expires a file; and it was written on this host, by this clock.
            return beat if beat.status not in ENDED and age_s(beat) <= HEARTBEAT_TTL_S else None
        return beat

    def is_fresh(self, queue: Queue) -> bool:
        """Return whether the bot of a queue has written a heartbeat lately, and not its last words."""
        if queue.kind != "bot" or not self.directory.exists():
            return False
        name = heartbeat_file(queue.key)
        facts = self.directory.stat(name)
        if facts is None or time.time() - facts.st_mtime >= HEARTBEAT_TTL_S:
            return False
        heartbeat = self._read(name)
        return heartbeat is not None and heartbeat.status != "stopped"

    def dumps(self, _: ListDumps) -> list[Dump]:
        """See `ListDumps`."""
        if not self.directory.exists():
            return []
        found = []
        for name in self.directory.names():
            if name.endswith(STACK_SUFFIX) and (facts := self.directory.stat(name)) and facts.st_size:
                with contextlib.suppress(UnsafeFile):
                    content = self.directory.read(name, MAX_MESSAGE_BYTES)
                    if content is not None and content.raw:
                        text = content.raw.decode(errors="replace")
                        bot_id = decode_id(name.removesuffix(STACK_SUFFIX))
                        found.append(Dump(bot_id, text, content.stat.st_mtime))
        return found

    def forget(self, command: ForgetBot) -> bool:
        """See `ForgetBot`."""
        name = heartbeat_file(command.bot_id)
        heartbeat = self._read(name) if self.directory.exists() else None
        if heartbeat is None or heartbeat.instance != command.instance:
            return False
        self.directory.remove(stack_file(command.bot_id))
        return self.directory.remove(name)

    def list(self, _: ListHeartbeats) -> list[Heartbeat]:
        """See `ListHeartbeats`: those that cannot be read are left out."""
        if not self.directory.exists():
            return []
        names = sorted(name for name in self.directory.names() if name.endswith(_SUFFIX))
        return [heartbeat for name in names if (heartbeat := self._read(name)) is not None]

    def _read(self, name: str) -> Heartbeat | None:
        try:
            found = self.directory.read(name, MAX_MESSAGE_BYTES)
            if found is None:
                return None
            if found.too_large:
                raise MalformedMessage(f"heartbeat: more than {MAX_MESSAGE_BYTES} bytes")
            heartbeat = from_json(found.raw)
            self._told.discard(name)
            return heartbeat
        except (MalformedMessage, UnsafeFile) as error:
            if name not in self._told and len(self._told) < _REMEMBERED:
                self._told.add(name)
                self._notify("WARNING", f"the heartbeat {self.directory}/{name!r} cannot be read: {error}")
            return None
