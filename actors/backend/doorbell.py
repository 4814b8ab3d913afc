"""The spool's doorbell: who waits for a queue is told when a file for it comes."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable

import anyio

from botvisor.doorbell import End, Ring
from botvisor.store import Queue

from .directory_watch import DirectoryWatch, InotifyWatch, PollingWatch
from .spool import Spool
from .spool_names import prefix_of

# A file that begins to rest meanwhile is looked at again this much too late at most.
_WAIT_S = 1.0
# Files that nothing tells of, such as those another host writes to a shared directory, are found by listing.
_LIST_S = 30.0


class SpoolDoorbell:
    """Rings when admin messages or control objects come to the spool, and when a resting file is due.

    The kernel tells of new files where it can (inotify); elsewhere the directory is compared every 50 ms.
    Subscribe before you look: a ring that came first is not repeated.

    Args:
        spool: the spool.
        inotify: whether to use inotify where there is.
    """

    def __init__(self, spool: Spool, *, inotify: bool = True) -> None:
        self._spool = spool
        self._inotify = inotify
        self._rings: dict[str | None, dict[object, Ring]] = {}

    def subscribe(self, target: Queue | str, ring: Ring) -> End:
        """See `Doorbell`."""
        prefix = self._spool.prefix(target)
        key = object()
        self._rings.setdefault(prefix, {})[key] = ring
        return lambda: self._end(prefix, key)

    def on_broadcast(self, receive: Callable[[bytes], None]) -> End:
        """See `Doorbell`: on files there is none."""
        return _nothing

    def on_identity_changed(self, room_url: str, changed: Callable[[str | None], None]) -> End:
        """See `Doorbell`: on files nobody tells, and caches age out."""
        return _nothing

    async def run(self, started: Callable[[], None]) -> None:
        """See `Doorbell`. It makes the directory if need be, and follows it when it is made anew.

        Raises:
            UnsafeDirectory: when the directory is not ours alone.
            StoreUnavailable: when it cannot be made or read.
        """
        directory, index = self._spool.directory, self._spool.index
        begun = False
        while True:
            await anyio.to_thread.run_sync(directory.ready)
            with contextlib.ExitStack() as stack:
                watch = await self._open_watch(stack)
                index.rescan()
                if not begun:
                    begun = True
                    started()
                self._ring_all()
                index.fed = True
                try:
                    await self._listen(watch)
                finally:
                    index.fed = False

    async def _open_watch(self, stack: contextlib.ExitStack) -> DirectoryWatch:
        if self._inotify:
            watch = InotifyWatch(self._spool.directory)
            stack.callback(watch.close)
            try:
                await anyio.to_thread.run_sync(watch.open)
                return watch
            except (ImportError, OSError) as error:
                self._inotify = False
                hint = "; raise fs.inotify.max_user_instances" if sys.platform == "linux" else ""
                self._spool.notify(
                    "WARNING", f"no inotify for {self._spool.directory}: polling every 50 ms ({error}){hint}"
                )
        polling = PollingWatch(self._spool.directory, self._is_wanted)
        stack.callback(polling.close)
        await anyio.to_thread.run_sync(polling.open)
        return polling

    async def _listen(self, watch: DirectoryWatch) -> None:
        """Ring until something was missed."""
        index = self._spool.index
        list_at = time.monotonic() + _LIST_S
        while True:
            now = time.monotonic()
            names = await watch.wait(max(0.0, min(_WAIT_S, index.next_due() - now)))
            if names is None:
                return
            self._arrived(names)
            now = time.monotonic()
            for prefix in index.due_prefixes(now):
                self._ring(prefix)
            if now >= list_at:
                list_at = now + _LIST_S
                self._arrived(await anyio.to_thread.run_sync(self._list))

    def _end(self, prefix: str | None, key: object) -> None:
        rings = self._rings.get(prefix, {})
        rings.pop(key, None)
        if not rings:
            self._rings.pop(prefix, None)

    def _list(self) -> list[str]:
        return [name for name in self._spool.directory.names() if self._is_wanted(name)]

    def _is_wanted(self, name: str) -> bool:
        prefix = prefix_of(name)
        return prefix is not None and (prefix in self._rings or self._spool.index.serves(prefix))

    def _arrived(self, names: Iterable[str]) -> None:
        prefixes = set()
        for name in names:
            if self._is_wanted(name):
                self._spool.index.note(name)
                prefixes.add(prefix_of(name))
        for prefix in prefixes:
            self._ring(prefix)

    def _ring(self, prefix: str | None) -> None:
        for ring in list(self._rings.get(prefix, {}).values()):
            ring()

    def _ring_all(self) -> None:
        for prefix in list(self._rings):
            self._ring(prefix)


def _nothing() -> None:
    pass
