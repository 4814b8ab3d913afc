"""A bot of ./scripts/demo: a process, and what it has said."""

import json
from collections.abc import AsyncIterator
from typing import Any

from anyio.abc import Process
from anyio.streams.text import TextReceiveStream
from demo_telling import heard


class RunningBot:
    """A bot process, and what it has said."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.process = process
        self.said: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self.silent = False

    async def listen(self) -> None:
        async for line in lines(self.process.stdout):
            self.said.append(said := json.loads(line))
            heard(self.name, in_words(said))
        self.silent = True

    async def listen_to_its_log(self) -> None:
        async for line in lines(self.process.stderr):
            self.errors.append(line)
            if line[:2] != "20":
                continue  # the traceback below a line would be noise here
            level, text = line.split(" | ")[1].strip(), line.split(" - ", 1)[-1]
            if level != "INFO" or "-client] " in text:  # which store it uses is news, each heartbeat is not
                heard(f"{self.name} log", text)

    def has_said(self, **wanted: Any) -> dict[str, Any] | None:
        return next((said for said in self.said if wanted.items() <= said.items()), None)


async def lines(stream: Any) -> AsyncIterator[str]:
    rest = ""
    async for text in TextReceiveStream(stream, errors="replace"):
        *whole, rest = (rest + text).split("\n")
        for line in whole:
            yield line


def in_words(said: dict[str, Any]) -> str:
    if said["what"] != "message":
        return str(said["what"])
    again = f", again: marked redelivered, try {said['tries']}" if said["redelivered"] else ""
    return f"got {said['text']!r}{again}"
