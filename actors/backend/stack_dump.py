"""A dump of the stack that faulthandler makes: it needs no interpreter, so no code can keep it from that."""

from __future__ import annotations

import faulthandler
import os

from botvisor.wire import FILE_MODE, stack_file

from .directory import Directory
from .os_errors import os_errors

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class StackDump:
    """Armed again and again by a loop that turns; a loop that stands still for too long leaves a dump.

    There is one such timer in a process: it is for a program's outermost function to use.

    Args:
        directory: where the heartbeats are.
        bot_id: the bot.
        after_s: how long the loop may stand still, in seconds.

    Raises:
        UnsafeDirectory: when others could change it.
        StoreUnavailable: when the file cannot be made.
    """

    def __init__(self, directory: Directory, bot_id: str, after_s: float) -> None:
        self._directory = directory
        self._name = stack_file(bot_id)
        self._after_s = after_s
        directory.ready()
        path = directory.at(self._name)
        with os_errors(path):
            self._fd = os.open(path, _FLAGS, FILE_MODE)

    def arm(self) -> None:
        """Put the dump off."""
        if self._fd >= 0:
            faulthandler.dump_traceback_later(self._after_s, file=self._fd)

    def take(self) -> str:
        """Return what was dumped, and empty the file. It is to be armed again after that."""
        if self._fd < 0 or os.fstat(self._fd).st_size == 0:
            return ""
        faulthandler.cancel_dump_traceback_later()  # waits until one that is being written is whole
        text = os.pread(self._fd, 65_536, 0).decode(errors="replace")
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        return text

    def close(self) -> None:
        """Disarm it, and remove the file. Raises `StoreUnavailable` when it cannot be removed."""
        if self._fd >= 0:
            faulthandler.cancel_dump_traceback_later()
            os.close(self._fd)
            self._fd = -1
            self._directory.remove(self._name)
