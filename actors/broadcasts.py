"""Broadcasts: messages to everybody who listens just now, which no queue holds."""

from __future__ import annotations

import time

from botvisor.errors import MalformedMessage
from botvisor.inbox import Inbox
from botvisor.logs import Log
from botvisor.message_forms import read_bot, read_room
from botvisor.messages import AdminMessage, decode_message
from botvisor.process import new_instance
from botvisor.room import canonical_room


class Broadcasts:
    """Takes in what is broadcast to a bot.

    Args:
        inbox: where it goes; its lanes tell what the bot is called, and which rooms it serves.
        log: where it is said that one cannot be understood.
    """

    def __init__(self, inbox: Inbox, log: Log) -> None:
        self._inbox = inbox
        self._log = log

    def receive(self, raw: bytes) -> None:
        """Take a broadcast in, unless it names another bot or another room."""
        try:
            message = decode_message(
                raw, fallback_id=new_instance(), source="broadcast", received_at=time.time()
            )
        except MalformedMessage as error:
            self._log.warning("admin", f"Ignored a broadcast: {error.reason}")
            return
        if self._is_for_us(message):
            self._inbox.announce(message)

    def _is_for_us(self, message: AdminMessage) -> bool:
        keys = {lane.queue.key for lane in self._inbox.lanes}
        if bot := read_bot(message.data):
            return bot in keys
        room = read_room(message.data)
        forms = {canonical_room(room, lower_path=lower_path) for lower_path in (False, True)}
        return not room or not keys.isdisjoint(forms)
