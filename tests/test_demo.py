"""./scripts/demo: it tells the story, and only if it was observed."""

import signal
import time

import pytest

from .processes import ROOT, Program

DEMO = ROOT / "scripts" / "demo.py"
STEPS_OF_CHAPTERS = [
    [
        "ada's heartbeat: healthy, pid ",
        "ben's heartbeat: healthy, pid ",
        "what ada knows of user1, this process can read too: it is John",
    ],
    [
        "'hello' to ada: stored after ",
        "'hello, whoever serves this room' to https://example.daily.co/ben: stored",
    ],
    [
        "'crash your heartbeat' to ada: stored after ",
        "ada's heartbeat is back, and tells: ada/heartbeat failed with ",
        "'are you still there?' to ada: stored after ",
    ],
    [
        "ada was killed with SIGKILL; its last heartbeat shows it as lost",
        "'think hard' was delivered, and is not",
    ],
    [
        "the successor got 'think hard', marked redelivered, second try",
        "and handled it: the sender's receipt says so",
        "what the first ada had handled, it did not get",
    ],
    [
        "ben ended with exit code 0 after SIGTERM; last words: SIGTERM",
        "ada ended with exit code 0 after a control command; last words: client sent stop",
    ],
]


@pytest.fixture
def demo(tmp_path):
    programs = []

    def start(*arguments, **env):
        programs.append(Program([DEMO, *arguments], tmp_path, **env))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


def test_it_tells_every_chapter_in_time(demo):
    began = time.monotonic()
    story = demo()
    assert story.ends() == 0
    assert time.monotonic() - began < 20
    assert story.err == []
    chapters = [line for line in story.out if line[:2] in {f"{number}." for number in range(10)}]
    assert [line[0] for line in chapters] == ["1", "2", "3", "4", "5", "6"]
    text = "\n".join(story.out)
    for title, after, steps in zip(chapters, [*chapters[1:], "Every step"], STEPS_OF_CHAPTERS, strict=True):
        told = [line for line in text.split(title)[1].split(after)[0].split("\n") if "✓" in line]
        assert len(told) == len(steps)
        for line, step in zip(told, steps, strict=True):
            assert line.startswith(f"  ✓ {step}")


def test_the_settings_of_the_shell_do_not_disturb_it(demo, tmp_path):
    story = demo(BOT_ID="not an id", BOT_HEARTBEAT_DIR=str(tmp_path / "mine"), USE_REDIS="true")
    assert story.ends() == 0
    assert not (tmp_path / "mine").exists()


BOTS = {
    "never handles": (
        """
async def main(bot):
    say("running")
    bot.participants.add("user1")
    await bot.identities.write("user1", {"sessionUserName": "John"})
    await anyio.sleep_forever()
""",
        "'hello' to ada is delivered, not handled",
    ),
    "tells nothing of who is there": (
        """
async def main(bot):
    say("running")
    await anyio.sleep_forever()
""",
        "waited 1 s in vain for ada's heartbeat to show health",
    ),
    "ends at once": (
        """
async def main(bot):
    raise ValueError("no microphone")
""",
        "ended and never said {'what': 'running'}",
    ),
    "forgets what it held": (
        """
async def main(bot):
    bot.participants.add("user1")
    await bot.identities.write("user1", {"sessionUserName": "John"})
    say("running")
    async with anyio.create_task_group() as group:
        async for message in bot.inbox:
            if "crash" in message.text:
                crash(bot, "heartbeat")
            group.start_soon(say_later, message)

async def say_later(message):
    await anyio.sleep(0.3)  # by then it counts as handled
    say("message", text=message.text, redelivered=message.redelivered, tries=message.tries)
""",
        "'think hard' is handled, not delivered",
    ),
}


@pytest.mark.parametrize("kind", BOTS)
def test_a_step_that_is_not_observed_ends_it_with_1(demo, tmp_path, kind):
    source, problem = BOTS[kind]
    script = tmp_path / "other_bot.py"
    script.write_text(
        "import json, sys\nimport anyio\nfrom botvisor import run_bot\nfrom botvisor.testing import crash\n"
        f"def say(what, **more):\n    print(json.dumps({{'what': what, **more}}), flush=True)\n{source}\n"
        "run_bot(main, room_url=sys.argv[1], log_level='CRITICAL')\n"
    )
    story = demo("--bot", script, "--patience", "1" if kind != "forgets what it held" else "6")
    assert story.ends() == 1
    assert problem in "\n".join(story.out)
    assert "Every step was observed" not in "\n".join(story.out)
    assert "Traceback" not in "\n".join(story.out)


def test_it_explains_itself(demo):
    story = demo("--help")
    assert story.ends() == 0
    assert "two real bot processes" in " ".join(" ".join(story.out).split())


def test_ctrl_c_ends_it_quietly_and_its_bots_with_it(demo):
    story = demo()
    story.says("2. An operator")
    assert story.stop(signal.SIGINT) == 130
    assert story.err == []
