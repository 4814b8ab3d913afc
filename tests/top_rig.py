"""`botvisor top` for tests: the program without a terminal, its keys pressed and its screen read."""

import html
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import anyio
from rich.cells import cell_len

from botvisor.cli.top_app import TopApp
from botvisor.errors import StoreUnavailable
from botvisor.fleet.watch import Watch
from botvisor.heartbeat import Heartbeat

_SIGN = 12.2  # how wide a sign is
# A piece of a line as textual's screenshots have it: where it begins, which line it is in, and the text.
_PIECE = re.compile(r'<text [^>]*?x="([\d.]+)"[^>]*?-line-(\d+)\)">([^<]*)</text>')


def lines_of(picture):
    """The lines of a screenshot, as text."""
    lines = {}
    for x, line, text in _PIECE.findall(picture):
        if text.strip():
            lines.setdefault(int(line), []).append((round(float(x) / _SIGN), html.unescape(text)))
    return [_joined(sorted(lines.get(number, ()))) for number in range(max(lines) + 1)]


def _joined(pieces):
    line = ""
    for column, text in pieces:
        line += " " * (column - cell_len(line)) + text.replace("\xa0", " ")
    return line.rstrip()


class Top:
    """The running program.

    Args:
        pilot: textual's, which presses keys.
        watch: what looks at the fleet.
    """

    def __init__(self, pilot, watch):
        self.app = pilot.app
        self.watch = watch
        self._pilot = pilot

    async def press(self, *keys):
        for key in keys:
            # The pilot's own waits longer for each key.
            self.app.simulate_key(key)
            await self._pilot.pause()

    async def type(self, text):
        """Type letters into what has the focus."""
        for letter in text:
            self.app.simulate_key(letter)
        await self._pilot.pause()

    async def lines(self):
        return lines_of(self.app.export_screenshot())

    async def bots(self):
        """The ids in the table, from the top."""
        lines = await self.lines()
        first = next(number for number, line in enumerate(lines) if line.startswith("BOT")) + 1
        return [line.split("  ")[0] for line in lines[first:-2] if line.strip()]

    async def text(self):
        return "\n".join(await self.lines())

    async def until_not(self, text):
        """Wait until the screen does not hold a text."""
        with anyio.fail_after(10):
            while text in await self.text():
                await anyio.sleep(0.02)

    async def until(self, *texts, within=10.0):
        """Wait until the screen holds these texts; returns all of it."""
        shown = ""
        try:
            with anyio.fail_after(within):
                while not all(text in shown for text in texts):
                    await anyio.sleep(0.02)
                    shown = await self.text()
        except TimeoutError:
            raise AssertionError(f"no {texts} came:\n{shown}") from None
        return shown


@asynccontextmanager
async def top(client, settings, *, size=(120, 24), every_s=0.1):
    """Run the program for as long as the block lasts."""
    watch = Watch(client, settings, every_s, sender="botvisor top")
    async with anyio.create_task_group() as group:
        group.start_soon(watch.run)
        async with TopApp(client, watch).run_test(size=size) as pilot:
            yield Top(pilot, watch)
        group.cancel_scope.cancel()


def beat(bot_id="ada", *, status="healthy", lag_ms=1.0, **more):
    """A heartbeat of just now, of another host."""
    health = {"lag_ms": lag_ms, "uptime_s": 60, "restarts": 0, "backend": "redis", **more.pop("health", {})}
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    told = {"host": "far", "pid": 4711, "room_url": "https://example.test/room", "participants": ("ann",)}
    return Heartbeat(**{"timestamp": now, **told, **more}, bot_id=bot_id, status=status, health=health)


class Beats:
    """A client that knows these heartbeats, and can be told to fail."""

    def __init__(self, *beats):
        self.beats = list(beats)
        self.error = None
        self.reason = None

    def away(self):
        return self.reason

    async def heartbeats(self):
        if self.error is not None:
            raise StoreUnavailable(self.error)
        return list(self.beats)

    async def inbox(self, bot_id):
        return []
