"""The story of ./scripts/demo, step by step; each waits until what it tells was really observed."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from demo_bots import RunningBot
from demo_telling import Chapters, NotSeenError, check, seen

from botvisor import Client, Heartbeat
from botvisor.config import load_settings
from botvisor.liveness import status

ADA_ROOM, BEN_ROOM = "https://example.daily.co/ada", "https://example.daily.co/ben"


class Story:
    """The steps, and how long each may take.

    Args:
        client: the operator's side.
        script: the bots' script.
        patience_s: how long a step waits for what it promises.
        interlude: a chapter in the middle, told with ada and ben at work.
    """

    def __init__(
        self,
        client: Client,
        script: Path,
        patience_s: float,
        interlude: Callable[["Story", RunningBot, RunningBot], Awaitable[None]] | None = None,
    ) -> None:
        self.client = client
        self.script = script
        self.patience_s = patience_s
        self.interlude = interlude
        self.chapters = Chapters()

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
        self.chapters.begin("Two bots start, each a process of its own, and say that they live")
        async with self.bot("ben", BEN_ROOM) as ben:
            async with self.bot("ada", ADA_ROOM) as ada:
                for bot in (ada, ben):
                    beat = await self.heartbeat(
                        bot.name, "health", lambda beat: beat.status == "healthy" and beat.participants
                    )
                    check(beat.pid == bot.process.pid, f"the heartbeat of {bot.name} has pid {beat.pid}")
                    seen(
                        f"{beat.bot_id}'s heartbeat: {beat.status}, pid {beat.pid}, in {beat.room_url} "
                        f"with {', '.join(beat.participants)}"
                    )
                known = [entry["sessionUserName"] for entry in await self.client.identities(ADA_ROOM)]
                check(known == ["John"], f"the identities in ada's room are {known}")
                seen("what ada knows of user1, this process can read too: it is John")

                self.chapters.begin("An operator reaches them: by id, and by room")
                await self.send("ada", "hello")
                await self.send(BEN_ROOM, "hello, whoever serves this room")

                self.chapters.begin("An actor crashes: it is restarted, and the call goes on")
                await self.send("ada", "crash your heartbeat")
                beat = await self.heartbeat("ada", "a restart", lambda beat: beat.health["restarts"] == 1)
                entry = beat.health["ledger"][0]
                seen(f"ada's heartbeat is back, and tells: {entry['actor']} failed with {entry['error']!r}")
                await self.send("ada", "are you still there?")

                if self.interlude is not None:
                    await self.interlude(self, ada, ben)

                self.chapters.begin("A bot is killed while it handles a message")
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

            self.chapters.begin("Its successor with the same BOT_ID gets what was not handled")
            async with self.bot("ada", ADA_ROOM) as ada:
                await self.says(ada, what="message", text="think hard", redelivered=True, tries=2)
                seen("the successor got 'think hard', marked redelivered, second try")

                async def handled() -> bool:
                    return (await self.client.receipt(receipt)).state == "handled"

                await self.until(handled, "'think hard' to be handled")
                seen("and handled it: the sender's receipt says so")
                check(not ada.has_said(text="hello"), "the successor got what was handled before")
                seen("what the first ada had handled, it did not get")

                self.chapters.begin("They are stopped, in order")
                ben.process.send_signal(signal.SIGTERM)
                await self.client.control("ada", "stop")
                for bot, how in ((ben, "SIGTERM"), (ada, "a control command")):
                    await self.says(bot, what="wrapping up")
                    await self.ends(bot, 0)
                    beat = await self.heartbeat(bot.name, "last words", lambda beat: beat.epitaph)
                    reason = (beat.epitaph or {}).get("reason")
                    seen(f"{bot.name} ended with exit code 0 after {how}; last words: {reason}")
