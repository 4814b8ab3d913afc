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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream
from loguru import logger

from botvisor import Client, open_client
from botvisor.config import load_settings
from botvisor.liveness import status

BOT = Path(__file__).parent / "examples" / "demo_bot.py"
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
STEP_LIMIT_S = 8.0
DEMO_LIMIT_S = 60.0


class NotSeenError(Exception):
    """A step did not show what it promises."""


def paint(code: str, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


def chapter(text: str) -> None:
    print(f"\n{paint('1', text)}", flush=True)


def seen(text: str) -> None:
    print(f"  {paint('32', '✓')} {text}", flush=True)


class RunningBot:
    """A bot process, and what it has said."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.process = process
        self.said: list[dict[str, Any]] = []

    async def listen(self) -> None:
        assert self.process.stdout is not None
        rest = ""
        async for text in TextReceiveStream(self.process.stdout):
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                self.said.append(json.loads(line))
                print(paint("2", f"    {self.name} │ {line}"), flush=True)

    async def log(self) -> None:
        assert self.process.stderr is not None
        rest = ""
        async for text in TextReceiveStream(self.process.stderr, errors="replace"):
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                if line[:2] == "20":  # a log line; the tracebacks below it would be noise here
                    print(paint("2", f"    {self.name} │ {line.split(' - ', 1)[-1]}"), flush=True)

    async def says(self, **wanted: Any) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            return next((said for said in self.said if wanted.items() <= said.items()), None)

        return await until(found, f"{self.name} to say {wanted}")


async def until(look: Callable[[], Any], what: str) -> Any:
    with anyio.move_on_after(STEP_LIMIT_S):
        while True:
            found = look()
            if found:
                return found
            await anyio.sleep(0.02)
    raise NotSeenError(f"waited {STEP_LIMIT_S:g} s in vain for {what}")


async def heartbeat(client: Client, name: str, what: str, good: Callable[[Any], bool]) -> Any:
    with anyio.move_on_after(STEP_LIMIT_S):
        while True:
            found = await client.heartbeat(name)
            if found is not None and good(found):
                return found
            await anyio.sleep(0.05)
    raise NotSeenError(f"waited {STEP_LIMIT_S:g} s in vain for the heartbeat of {name} to show {what}")


@asynccontextmanager
async def bot(script: Path, name: str, room: str) -> AsyncIterator[RunningBot]:
    command = [sys.executable, str(script), room]
    async with await anyio.open_process(
        command, env={**os.environ, "BOT_ID": name}, stdin=subprocess.DEVNULL
    ) as process:
        running = RunningBot(name, process)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(running.listen)
                group.start_soon(running.log)
                await running.says(what="running")
                yield running
                group.cancel_scope.cancel()
        finally:
            if process.returncode is None:
                process.kill()


async def send(client: Client, target: str, text: str) -> None:
    receipt = await client.send(target, text, wait=STEP_LIMIT_S, sender_name="the demo")
    if receipt.state != "handled":
        raise NotSeenError(f"{text!r} to {target} is {receipt.state}, not handled")
    seen(
        f"{text!r} to {target}: stored after {receipt.stored_ms:.0f} ms, "
        f"handled within {receipt.handled_ms:.0f} ms"
    )


async def ended(running: RunningBot) -> int:
    with anyio.move_on_after(STEP_LIMIT_S):
        return await running.process.wait()
    raise NotSeenError(f"{running.name} did not end")


async def story(client: Client, script: Path) -> None:
    stale_s = load_settings().heartbeat_stale_s
    ada_room, ben_room = "https://example.daily.co/ada", "https://example.daily.co/ben"

    chapter("1. Two bots start, each a process of its own, and say that they live")
    async with bot(script, "ben", ben_room) as ben:
        async with bot(script, "ada", ada_room) as ada:
            for running in (ada, ben):
                found = await heartbeat(
                    client,
                    running.name,
                    "health",
                    lambda beat: beat.status == "healthy" and beat.participants,
                )
                seen(
                    f"{found.bot_id}: {found.status}, pid {found.pid}, in {found.room_url} "
                    f"with {', '.join(found.participants)}"
                )
            known = await client.identities(ada_room)
            if [entry["sessionUserName"] for entry in known] != ["John"]:
                raise NotSeenError(f"identities in ada's room: {known}")
            seen("another process reads from ada's room that user1 is John")

            chapter("2. An operator reaches them: by id, and by room")
            await send(client, "ada", "hello")
            await send(client, ben_room, "hello, whoever serves this room")

            chapter("3. An actor crashes: it is restarted, and the call goes on")
            await send(client, "ada", "crash your heartbeat")
            found = await heartbeat(client, "ada", "a restart", lambda beat: beat.health["restarts"] == 1)
            entry = found.health["ledger"][0]
            seen(f"the ledger of ada says: {entry['actor']} failed with {entry['error']!r}; restarted once")
            await send(client, "ada", "are you still there?")

            chapter("4. A bot is killed while it handles a message")
            receipt = await client.send("ada", "think hard")
            await ada.says(what="message", text="think hard", redelivered=False)
            ada.process.send_signal(signal.SIGKILL)
            if await ended(ada) != -signal.SIGKILL:
                raise NotSeenError("ada was not killed")
            found = await heartbeat(client, "ada", "the loss", lambda beat: status(beat, stale_s) == "lost")
            seen("ada was killed with SIGKILL; its heartbeat shows it as lost")

        chapter("5. Its successor with the same BOT_ID gets what was not handled")
        async with bot(script, "ada", ada_room) as ada:
            await ada.says(what="message", text="think hard", redelivered=True, tries=2)
            if [said for said in ada.said if said.get("text") == "hello"]:
                raise NotSeenError("the successor got a message that was handled before")
            seen(
                "the successor got 'think hard', marked redelivered, second try; and nothing that was handled"
            )
            while receipt.state != "handled":
                await anyio.sleep(0.05)
                receipt = await client.receipt(receipt)
            seen("and handled it: the receipt says so")

            chapter("6. They are stopped, in order")
            ben.process.send_signal(signal.SIGTERM)
            await client.control("ada", "stop")
            for running, how in ((ben, "SIGTERM"), (ada, "a control command")):
                await running.says(what="wrapping up")
                if (code := await ended(running)) != 0:
                    raise NotSeenError(f"{running.name} ended with exit code {code}")
                found = await heartbeat(
                    client, running.name, "last words", lambda beat: beat.status == "stopped"
                )
                seen(
                    f"{running.name} ended with exit code 0 after {how}; "
                    f"last words: {found.epitaph['reason']}"
                )


async def run(bot_script: Path) -> None:
    with anyio.fail_after(DEMO_LIMIT_S):
        async with open_client() as client:
            await story(client, bot_script)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./scripts/demo", description=__doc__)
    parser.add_argument(
        "--bot", type=Path, default=BOT, help="the bots' script; the steps watch what it says"
    )
    bot_script = parser.parse_args().bot.resolve()
    logger.disable("botvisor")  # the story tells what the client does
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="botvisor-demo-") as folder:
        for name in ("ADMIN_MESSAGE", "HEARTBEAT", "IDENTITY"):
            os.environ[f"BOT_{name}_DIR"] = f"{folder}/{name.lower()}"
        os.environ["BOT_HEARTBEAT_INTERVAL_SECS"] = "1"
        os.environ["USE_REDIS"] = "false"
        try:
            anyio.run(run, bot_script)
        except (NotSeenError, TimeoutError) as error:
            print(f"\n{paint('31', '✗')} {error or 'the demo took too long'}", flush=True)
            return 1
        except ExceptionGroup as group:
            print(f"\n{paint('31', '✗')} {group.exceptions[0]!r}", flush=True)
            return 1
    print(f"\nEvery step was observed, in {time.monotonic() - began:.1f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
