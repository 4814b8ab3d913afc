"""A ledger: a file to which one process appends lines, each on the disk before the next thing happens."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from .records import AnyRecord, Record

_decoder = msgspec.json.Decoder(AnyRecord)


class Ledger:
    """Writes a ledger. One that a killed process has left is continued.

    Args:
        path: the file.
        synced: whether each line is to survive a loss of power, too.
    """

    def __init__(self, path: Path, *, synced: bool = True) -> None:
        self._synced = synced
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")  # the last line was cut off: it must not spoil the next one

    def write(self, record: Record) -> None:
        """Append a line and sync it. Blocks: call it in a thread where that matters."""
        line = msgspec.json.encode(record) + b"\n"
        with self._lock:
            if os.write(self._file, line) != len(line):
                raise OSError(f"a ledger took a part of a line only: {record}")
            if self._synced:
                os.fsync(self._file)


def read(paths: Iterable[Path]) -> Iterator[AnyRecord]:
    """Read ledgers; a line that was cut off is none."""
    for path in paths:
        yield from decode(path.read_bytes())


def decode(content: bytes) -> Iterator[AnyRecord]:
    """Read the lines of a ledger; see `read`."""
    for line in content.splitlines():
        try:
            yield _decoder.decode(line)
        except msgspec.ValidationError:
            raise  # it is whole, and none of ours
        except msgspec.DecodeError:
            continue


class Follower:
    """Reads what is appended to the ledgers of a folder.

    Args:
        folder: the folder; ledgers may come later.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}

    def news(self) -> list[AnyRecord]:
        """Return the lines that came since the last call."""
        found: list[AnyRecord] = []
        for path in sorted(self._folder.glob("*.jsonl")):
            offset = self._offsets.get(path, 0)
            with path.open("rb") as file:
                file.seek(offset)
                content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            self._offsets[path] = offset + len(whole)
            found += decode(whole)
        return found
