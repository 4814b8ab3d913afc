"""A Pipecat bot that operators can see, message and stop: python pipecat_bot.py ROOM_URL PARTICIPANT...

Its room and its voice are local stand-ins, so it needs no keys: put your transport, speech-to-text, model and
text-to-speech in their places. It needs `pip install 'pipecat-ai>=1.3,<2'`.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from pipecat.frames.frames import (
    BotSpeakingFrame,
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    StartFrame,
    TTSSpeakFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from botvisor import AdminMessage, Bot, run_bot

IDLE_TIMEOUT_SECS = 300.0
WORD_SECS = 0.2


class LocalRoom(FrameProcessor):
    """In place of a transport: some people are in the room for as long as the pipeline runs."""

    def __init__(self, people: list[str]) -> None:
        super().__init__()
        self._people = people
        self._register_event_handler("on_participant_joined", sync=True)
        self._register_event_handler("on_participant_left", sync=True)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        for person in self._people:
            if isinstance(frame, StartFrame):
                await self._call_event_handler("on_participant_joined", person)
            elif isinstance(frame, (EndFrame, CancelFrame)):
                await self._call_event_handler("on_participant_left", person)
        await self.push_frame(frame, direction)


class LocalVoice(FrameProcessor):
    """In place of text-to-speech: it prints what it says, and takes its time."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSSpeakFrame):
            print(f"saying: {frame.text}", flush=True)
            for _ in frame.text.split():
                await self.push_frame(BotSpeakingFrame())  # so it does not count as idle
                await anyio.sleep(WORD_SECS)
            print(f"said: {frame.text}", flush=True)
        await self.push_frame(frame, direction)


@asynccontextmanager
async def running(runner: WorkerRunner, worker: PipelineWorker) -> AsyncIterator[anyio.Event]:
    """Run a pipeline beside a block. If it ends first, as when nobody speaks, the block is left.

    Yields:
        What is set once the runner has ended.
    """
    ended = anyio.Event()

    async def run() -> None:
        with anyio.CancelScope(shield=True):  # it swallows what cancels its task, and ends by runner.cancel()
            await runner.run()
        ended.set()
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        try:
            yield ended
        finally:
            if not ended.is_set():
                # A cancel waits its turn behind stop_when_done(): what is still being said is cut off.
                await worker.queue_frame(InterruptionFrame(), FrameDirection.UPSTREAM)
                await runner.cancel("main has ended")


async def say(worker: PipelineWorker, message: AdminMessage) -> None:
    if message.mode == "immediate":
        await worker.queue_frame(InterruptionFrame())  # cuts off what is being said, and what waits
    await worker.queue_frame(TTSSpeakFrame(message.text))


async def main(bot: Bot) -> None:
    room = LocalRoom(sys.argv[2:])

    @room.event_handler("on_participant_joined")
    async def joined(_: LocalRoom, participant: str) -> None:
        bot.participants.add(participant)
        print(f"{participant} is here", flush=True)

    @room.event_handler("on_participant_left")
    async def left(_: LocalRoom, participant: str) -> None:
        bot.participants.discard(participant)

    worker = PipelineWorker(Pipeline([room, LocalVoice()]), idle_timeout_secs=IDLE_TIMEOUT_SECS)
    runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)  # botvisor handles the signals
    await runner.add_workers(worker)
    async with running(runner, worker) as ended:
        async for message in bot.inbox:
            await say(worker, message)
        await runner.stop_when_done()  # the bot is to stop: it finishes what it has to say
        await ended.wait()
    print("the pipeline has ended", flush=True)


if __name__ == "__main__":
    run_bot(main, room_url=sys.argv[1])
