"""The main job, told as a story: two real bot processes on files, messages, a crash, a kill, a stop.

Every step waits until what it tells was really observed; the exit code is 0 only if all of them were.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream
from loguru import logger

from botvisor import Client, Heartbeat, open_client
from botvisor.config import load_settings
from botvisor.errors import collapse
from botvisor.liveness import status

BOT = Path(__file__).parent / "examples" / "demo_bot.py"
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
DEMO_LIMIT_S = 18.0


class NotSeenError(Exception):
    """A step did not show what it promises."""


def paint(code: str, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


def chapter(text: str) -> None:
    print(f"\n{paint('1', text)}", flush=True)


def heard(who: str, text: str) -> None:
    print(paint("2", f"    {who:>8} │ {text}"), flush=True)


def seen(text: str) -> None:
    print(f"  {paint('32', '✓')} {text}", flush=True)


def check(observed: bool, what: str) -> None:
    if not observed:
        raise NotSeenError(what)


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
            if line[:2] == "20":  # the line itself; the traceback below it would be noise here
                heard(f"{self.name} log", line.split(" - ", 1)[-1])

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


class Story:
    """The steps, and how long each may take.

    Args:
        client: the operator's side.
        script: the bots' script.
        patience_s: how long a step waits for what it promises.
    """

    def __init__(self, client: Client, script: Path, patience_s: float) -> None:
        self.client = client
        self.script = script
        self.patience_s = patience_s

    @asynccontextmanager
    async def bot(self, name: str, room: str) -> AsyncIterator[RunningBot]:
        async with await anyio.open_process(
            [sys.executable, str(self.script), room],
            env={**os.environ, "BOT_ID": name},
            stdin=subprocess.DEVNULL,
        ) as process:
            running = RunningBot(name, process)
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(running.listen)
                    group.start_soon(running.listen_to_its_log)
                    await self.says(running, what="running")
                    yield running
                    group.cancel_scope.cancel()
            finally:
                if process.returncode is None:
                    process.kill()

    async def until(self, look: Callable[[], Awaitable[Any]], what: str) -> Any:
        with anyio.move_on_after(self.patience_s):
            while not (found := await look()):  # noqa: ASYNC110 - other processes set no event of ours
                await anyio.sleep(0.02)
            return found
        raise NotSeenError(f"waited {self.patience_s:g} s in vain for {what}")

    async def says(self, bot: RunningBot, **wanted: Any) -> None:
        async def look() -> bool:
            return bot.has_said(**wanted) is not None or bot.silent

        await self.until(look, f"{bot.name} to say {wanted}")
        last = "".join(f"\n    {line}" for line in bot.errors[-5:])
        check(bot.has_said(**wanted) is not None, f"{bot.name} ended and never said {wanted}{last}")

    async def ends(self, bot: RunningBot, code: int) -> None:
        with anyio.move_on_after(self.patience_s):
            ended_with = await bot.process.wait()
            check(ended_with == code, f"{bot.name} ended with exit code {ended_with}, not {code}")
            return
        raise NotSeenError(f"{bot.name} did not end")

    async def heartbeat(self, name: str, what: str, good: Callable[[Heartbeat], object]) -> Heartbeat:
        async def look() -> Heartbeat | None:
            beat = await self.client.heartbeat(name)
            return beat if beat is not None and good(beat) else None

        found: Heartbeat = await self.until(look, f"{name}'s heartbeat to show {what}")
        return found

    async def send(self, target: str, text: str) -> None:
        receipt = await self.client.send(target, text, wait=self.patience_s, sender_name="the demo")
        check(receipt.state == "handled", f"{text!r} to {target} is {receipt.state}, not handled")
        seen(
            f"{text!r} to {target}: stored after {receipt.stored_ms:.0f} ms, "
            f"seen to be handled after {receipt.handled_ms:.0f} ms"
        )

    async def run(self) -> None:
        ada_room, ben_room = "https://example.daily.co/ada", "https://example.daily.co/ben"
        chapter("1. Two bots start, each a process of its own, and say that they live")
        async with self.bot("ben", ben_room) as ben:
            async with self.bot("ada", ada_room) as ada:
                for bot in (ada, ben):
                    beat = await self.heartbeat(
                        bot.name, "health", lambda beat: beat.status == "healthy" and beat.participants
                    )
                    check(beat.pid == bot.process.pid, f"the heartbeat of {bot.name} has pid {beat.pid}")
                    seen(
                        f"{beat.bot_id}'s heartbeat: {beat.status}, pid {beat.pid}, in {beat.room_url} "
                        f"with {', '.join(beat.participants)}"
                    )
                known = [entry["sessionUserName"] for entry in await self.client.identities(ada_room)]
                check(known == ["John"], f"the identities in ada's room are {known}")
                seen("what ada knows of user1, this process can read too: it is John")

                chapter("2. An operator reaches them: by id, and by room")
                await self.send("ada", "hello")
                await self.send(ben_room, "hello, whoever serves this room")

                chapter("3. An actor crashes: it is restarted, and the call goes on")
                await self.send("ada", "crash your heartbeat")
                beat = await self.heartbeat("ada", "a restart", lambda beat: beat.health["restarts"] == 1)
                entry = beat.health["ledger"][0]
                seen(f"ada's heartbeat is back, and tells: {entry['actor']} failed with {entry['error']!r}")
                await self.send("ada", "are you still there?")

                chapter("4. A bot is killed while it handles a message")
                receipt = await self.client.send("ada", "think hard", sender_name="the demo")
                await self.says(ada, what="message", text="think hard", redelivered=False)
                ada.process.send_signal(signal.SIGKILL)
                await self.ends(ada, -signal.SIGKILL)
                stale_s = load_settings().heartbeat_stale_s
                await self.heartbeat("ada", "the loss", lambda beat: status(beat, stale_s) == "lost")
                seen("ada was killed with SIGKILL; its last heartbeat shows it as lost")
                receipt = await self.client.receipt(receipt)
                check(receipt.state == "delivered", f"'think hard' is {receipt.state}, not delivered")
                seen("'think hard' was delivered, and is not handled")

            chapter("5. Its successor with the same BOT_ID gets what was not handled")
            async with self.bot("ada", ada_room) as ada:
                await self.says(ada, what="message", text="think hard", redelivered=True, tries=2)
                seen("the successor got 'think hard', marked redelivered, second try")

                async def handled() -> bool:
                    return (await self.client.receipt(receipt)).state == "handled"

                await self.until(handled, "'think hard' to be handled")
                seen("and handled it: the sender's receipt says so")
                check(not ada.has_said(text="hello"), "the successor got what was handled before")
                seen("what the first ada had handled, it did not get")

                chapter("6. They are stopped, in order")
                ben.process.send_signal(signal.SIGTERM)
                await self.client.control("ada", "stop")
                for bot, how in ((ben, "SIGTERM"), (ada, "a control command")):
                    await self.says(bot, what="wrapping up")
                    await self.ends(bot, 0)
                    beat = await self.heartbeat(bot.name, "last words", lambda beat: beat.epitaph)
                    reason = (beat.epitaph or {}).get("reason")
                    seen(f"{bot.name} ended with exit code 0 after {how}; last words: {reason}")


async def tell(script: Path, patience_s: float) -> None:
    with anyio.fail_after(DEMO_LIMIT_S):
        async with open_client() as client:
            await Story(client, script, patience_s).run()


def main() -> int:
    parser = argparse.ArgumentParser(prog="./scripts/demo", description=__doc__)
    parser.add_argument(
        "--bot", type=Path, default=BOT, metavar="SCRIPT", help="the bots (default: %(default)s)"
    )
    parser.add_argument(
        "--patience", type=float, default=6.0, metavar="S", help="seconds each step may take (default: 6)"
    )
    options = parser.parse_args()
    logger.disable("botvisor")  # the story tells what the client does
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="botvisor-demo-") as folder:
        for name in [name for name in os.environ if name.startswith(("BOT_", "REDIS_"))]:
            del os.environ[name]
        for name in ("ADMIN_MESSAGE", "HEARTBEAT", "IDENTITY"):
            os.environ[f"BOT_{name}_DIR"] = f"{folder}/{name.lower()}"
        os.environ["BOT_HEARTBEAT_INTERVAL_SECS"] = "1"
        os.environ["USE_REDIS"] = "false"
        try:
            anyio.run(tell, options.bot, options.patience)
        except KeyboardInterrupt:
            return 130
        except Exception as error:
            problem = collapse(error)
            text = str(problem) if isinstance(problem, NotSeenError) else repr(problem)
            print(f"\n{paint('31', '✗')} {text}", flush=True)
            return 1
    print(f"\nEvery step was observed, in {time.monotonic() - began:.1f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
