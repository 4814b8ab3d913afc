"""The Pipecat bot of scripts/examples, with a real pipeline and a real runner, as a process of its own."""

import importlib.util
import signal

import anyio
import pytest

from botvisor import open_client

from . import processes
from .fleet import settings_in
from .processes import LIMIT_S, ROOT

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pipecat") is None,
    reason="Pipecat is not installed here: ./scripts/test --pipecat installs it, and runs these",
)
scripts = processes.scripts

EXAMPLES = ROOT / "scripts" / "examples"
ROOM = "https://example.daily.co/pipecat"
ENDED = "the pipeline has ended"


@pytest.fixture
def start(scripts):
    """Starts the bot ada, with changes to the example's module and arguments of `run_bot`."""

    def start(changes="", arguments="", *, word_secs=0.02):
        bot = scripts.start(
            f"""
sys.path.insert(0, {str(EXAMPLES)!r})
sys.argv[1:] = [{ROOM!r}, "user1", "user2"]
import pipecat_bot as example
example.WORD_SECS = {word_secs}
{changes}
run_bot(example.main, room_url=sys.argv[1], {arguments})
""",
            BOT_ID="ada",
            BOT_LOG_LEVEL="WARNING",
        )
        for person in ("user1", "user2"):  # the pipeline's first frame lets them in
            bot.says(f"{person} is here")
        return bot

    return start


def as_client(folder, use):
    """Use a client of the bot's store; returns what `use` returns."""

    async def main():
        async with open_client(settings_in(folder)) as client:
            with anyio.fail_after(LIMIT_S):
                return await use(client)

    return anyio.run(main)


def tell(folder, *texts, mode="queued"):
    """Send the bot messages, each once the one before is handled: it is in the pipeline then."""

    async def use(client):
        for text in texts:
            receipt = await client.send("ada", text, mode=mode, wait=LIMIT_S)
            assert receipt.state == "handled"

    as_client(folder, use)


def heartbeat(folder, wanted):
    """Wait for a heartbeat that is as it is wanted."""

    async def use(client):
        while (beat := await client.heartbeat("ada")) is None or not wanted(beat):
            await anyio.sleep(0.05)
        return beat

    return as_client(folder, use)


def said(bot):
    return [line.removeprefix("said: ") for line in bot.out if line.startswith("said: ")]


def test_a_message_is_spoken_by_the_running_pipeline_and_the_heartbeat_tells_who_is_there(start, tmp_path):
    bot = start()
    beat = heartbeat(tmp_path, lambda beat: len(beat.participants) == 2)
    assert (set(beat.participants), beat.room_url) == ({"user1", "user2"}, ROOM)
    tell(tmp_path, "good morning everybody")
    bot.says("said: good morning everybody")
    as_client(tmp_path, lambda client: client.control("ada", "stop"))
    assert bot.ends() == 0
    assert bot.out[-1] == ENDED
    last = heartbeat(tmp_path, lambda beat: beat.epitaph)
    assert (last.epitaph["exit"], last.participants) == ("returned", ())
    assert bot.stderr.count("WARNING") == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_an_idle_pipeline(start, number, code):
    bot = start()
    assert bot.stop(number) == code
    assert bot.out[2:] == [ENDED]
    assert "Traceback" not in bot.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_what_is_queued_is_said_before_the_end(start, tmp_path, number, code):
    bot = start(word_secs=0.3)
    tell(tmp_path, "one is being said", "two waits", "three too")
    bot.says("saying: one")
    assert bot.stop(number) == code
    assert said(bot) == ["one is being said", "two waits", "three too"]
    assert bot.out[-1] == ENDED


def test_an_immediate_message_cuts_off_what_is_said_and_what_waits_and_is_said_to_its_end(start, tmp_path):
    bot = start(word_secs=0.3)
    tell(tmp_path, "so long that nobody would wait for it " * 9, "and more")
    bot.says("saying: so long")
    tell(tmp_path, "stop talking please", mode="immediate")
    bot.says("saying: stop talking please")
    assert bot.stop() == 0
    assert said(bot) == ["stop talking please"]
    assert bot.out[-1] == ENDED


def test_what_takes_longer_than_the_grace_is_cancelled_and_the_pipeline_cleans_up(start, tmp_path):
    bot = start(arguments="grace=0.3", word_secs=60)
    tell(tmp_path, "this never ends")
    bot.says("saying: this never ends")
    assert bot.stop() == 143
    assert said(bot) == []
    assert "still runs" not in bot.stderr
    assert "Traceback" not in bot.stderr
    last = heartbeat(tmp_path, lambda beat: beat.epitaph)
    assert (last.epitaph["exit"], last.participants) == ("cancelled", ())


def test_a_pipeline_that_is_idle_for_too_long_ends_the_bot(start, tmp_path):
    bot = start("example.IDLE_TIMEOUT_SECS = 0.5")
    assert bot.ends() == 0
    assert bot.out[2:] == [ENDED]
    assert heartbeat(tmp_path, lambda beat: beat.epitaph).epitaph["exit"] == "returned"


def test_a_handler_that_raises_ends_the_bot_with_its_error_and_its_successor_says_the_message(
    start, tmp_path
):
    bot = start("async def say(worker, message): raise ValueError('lost for words')\nexample.say = say")
    as_client(tmp_path, lambda client: client.send("ada", "to be said anyway"))
    assert bot.ends() == 1
    assert bot.err[-1] == "ValueError: lost for words"
    assert "ExceptionGroup" not in bot.stderr
    assert heartbeat(tmp_path, lambda beat: beat.epitaph).participants == ()
    successor = start()
    successor.says("said: to be said anyway")
    assert successor.stop() == 0


def test_a_runner_that_keeps_its_signal_handlers_is_warned_of(start):
    bot = start(
        "from pipecat.workers.runner import WorkerRunner\n"
        "example.WorkerRunner = lambda **_: WorkerRunner(handle_sigterm=True)"
    )
    bot.says("Another library handles SIGTERM and SIGINT now")
    assert "handle_sigint=False, handle_sigterm=False" in bot.stderr
    assert bot.stop() == 0  # as Pipecat has it: at once
    assert bot.stderr.count("Another library") == 1
