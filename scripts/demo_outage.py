"""The chapter of ./scripts/demo --redis in which Redis is killed and comes back."""

import time

import anyio
from demo_bots import RunningBot
from demo_story import Story
from demo_telling import check, seen

from botvisor import Receipt
from botvisor.testing.redis_server import RedisServer

# What was acknowledged is on its disk, so a kill costs it nothing.
KEEPS_EVERYTHING = ("appendonly yes", "appendfsync always")
BETWEEN_S = 0.3
AT_LEAST = 4  # messages before, during and after


class Outage:
    """An outage of Redis while an operator goes on sending.

    Args:
        server: the server.
    """

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.receipts: list[Receipt] = []

    async def tell(self, story: Story, ada: RunningBot, ben: RunningBot) -> None:
        story.chapters.begin("Redis is killed, and comes back; an operator goes on sending all the while")
        async with anyio.create_task_group() as group:
            group.start_soon(self.go_on_sending, story)
            await self.sent(story, "redis", AT_LEAST)
            self.server.kill()
            killed_at = time.monotonic()
            seen(f"Redis had {len(self.receipts)} messages for ada; it was killed with SIGKILL")
            await self.all_keep_to(story, "file", ada, ben)
            seen(f"ada, ben and this process keep to files, {time.monotonic() - killed_at:.1f} s later")
            await self.sent(story, "spool@", AT_LEAST)
            await self.server.start()
            back_at = time.monotonic()
            seen(f"Redis is back after {back_at - killed_at:.1f} s")
            await self.all_keep_to(story, "redis", ada, ben)
            seen(f"ada, ben and this process are on Redis again, {time.monotonic() - back_at:.1f} s later")
            await self.sent(story, "redis", AT_LEAST)
            group.cancel_scope.cancel()
        await self.nothing_was_lost(story, ada)

    async def go_on_sending(self, story: Story) -> None:
        while True:
            with anyio.CancelScope(shield=True):
                text = f"number {len(self.receipts) + 1}"
                self.receipts.append(await story.client.send("ada", text, sender_name="the demo"))
            await anyio.sleep(BETWEEN_S)

    async def sent(self, story: Story, where: str, count: int) -> None:
        """Wait until so many more messages were stored there."""
        before = len(self.stored(where))

        async def look() -> bool:
            return len(self.stored(where)) >= before + count

        await story.until(look, f"{count} messages to be stored on {where}")

    def stored(self, where: str) -> list[Receipt]:
        return [receipt for receipt in self.receipts if str(receipt.where).startswith(where)]

    async def all_keep_to(self, story: Story, backend: str, *bots: RunningBot) -> None:
        for bot in bots:
            await story.heartbeat(
                bot.name, f"that it keeps to {backend}", lambda beat: beat.health["backend"] == backend
            )

    async def nothing_was_lost(self, story: Story, ada: RunningBot) -> None:
        for number, receipt in enumerate(self.receipts, 1):
            await story.says(ada, what="message", text=f"number {number}")

            async def handled(receipt: Receipt = receipt) -> bool:
                return (await story.client.receipt(receipt)).state == "handled"

            await story.until(handled, f"'number {number}' to be handled")
        got = [said["text"] for said in ada.said if said["what"] == "message" and not said["redelivered"]]
        numbers = [text for text in got if text.startswith("number ")]
        check(len(numbers) == len(set(numbers)), f"ada got some twice, unmarked: {numbers}")
        spooled = len(self.stored("spool@"))
        seen(
            f"ada handled all {len(self.receipts)}, {len(self.receipts) - spooled} over Redis and {spooled} "
            "over files; none was lost, none came twice unmarked"
        )
