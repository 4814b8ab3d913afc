"""./scripts/demo: it tells the story, and only if it was observed."""

import re
import signal
import time

import pytest

from . import redis_server
from .processes import ROOT, Program

DEMO = ROOT / "scripts" / "demo.py"
STEPS = [
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

OUTAGE = [
    "Redis had ",
    "ada, ben and this process keep to files, ",
    "Redis is back after ",
    "ada, ben and this process are on Redis again, ",
    "ada handled all ",
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


def steps_told(story):
    """What a demo said that it has seen, chapter by chapter."""
    chapters = []
    for line in story.out:
        if line[:2] in {f"{number}." for number in range(1, 10)}:
            assert line[0] == str(len(chapters) + 1)
            chapters.append([])
        elif line.startswith("  ✓ "):
            chapters[-1].append(line.removeprefix("  ✓ "))
    return chapters


def check_steps(story, expected):
    told = steps_told(story)
    assert [len(steps) for steps in told] == [len(steps) for steps in expected]
    for steps, beginnings in zip(told, expected, strict=True):
        for step, beginning in zip(steps, beginnings, strict=True):
            assert step.startswith(beginning)


def test_it_tells_every_chapter_in_time(demo):
    began = time.monotonic()
    story = demo()
    assert story.ends() == 0
    assert time.monotonic() - began < 20
    assert story.err == []
    check_steps(story, STEPS)
    assert "Redis" not in "\n".join(story.out)


def test_on_redis_it_tells_of_an_outage_too(demo):
    redis_server.need()
    story = demo("--redis")
    assert story.ends(60) == 0
    assert story.err == []
    check_steps(story, [*STEPS[:3], OUTAGE, *STEPS[3:]])
    text = "\n".join(story.out)
    for bot in ("ada", "ben"):
        assert f"{bot} log │ [redis-client] Ping failed: " in text
        assert f"{bot} log │ [redis-client] Ping answered after " in text
    handled = re.search(r"handled all (\d+), (\d+) over Redis and (\d+) over files; none was lost", text)
    every, on_redis, on_files = map(int, handled.groups())
    assert every == on_redis + on_files
    assert min(on_redis / 2, on_files) >= 4
    assert [text.count(f"ada │ got 'number {number}'\n") for number in range(1, every + 1)] == [1] * every


def test_the_settings_of_the_shell_do_not_disturb_it(demo, tmp_path):
    story = demo(BOT_ID="not an id", BOT_HEARTBEAT_DIR=str(tmp_path / "mine"), USE_REDIS="true")
    assert story.ends() == 0
    assert not (tmp_path / "mine").exists()


BOTS = {
    "never handles": (
        """
async def main(bot):
    await bot.identities.write("user1", {"sessionUserName": "John"})
    bot.participants.add("user1")
    say("running")
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
        "waited 3 s in vain for ada's heartbeat to show health",
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
    story = demo("--bot", script, "--patience", "3" if kind != "forgets what it held" else "6")
    assert story.ends() == 1
    assert problem in "\n".join(story.out)
    assert "Every step was observed" not in "\n".join(story.out)
    assert "Traceback" not in "\n".join(story.out)


def test_an_outage_that_a_bot_does_not_get_over_ends_it_with_1(demo, tmp_path):
    redis_server.need()
    script = tmp_path / "other_bot.py"
    example = (ROOT / "scripts" / "examples" / "demo_bot.py").read_text()
    script.write_text(f"import os\nos.environ['BOT_FILE_FALLBACK'] = 'false'\n{example}")
    story = demo("--redis", "--bot", script, "--patience", "2")
    assert story.ends(60) == 1
    assert story.out[-1] == "✗ waited 2 s in vain for ada's heartbeat to show that it keeps to file"
    assert [len(steps) for steps in steps_told(story)] == [3, 2, 3, 1]


def test_without_a_server_it_says_what_is_missing(demo, tmp_path):
    (tmp_path / "nothing").mkdir()
    nowhere = str(tmp_path / "nothing")
    code = f"import runpy, sys; sys.prefix = {nowhere!r}; sys.argv = ['demo', '--redis']; "
    code += f"sys.path.insert(0, {str(DEMO.parent)!r}); runpy.run_path({str(DEMO)!r}, run_name='__main__')"
    program = Program(["-c", code], tmp_path, PATH=nowhere, PIP_NO_INDEX="1", PIP_FIND_LINKS=nowhere)
    try:
        assert program.ends() == 1
        assert program.out[-1].startswith("✗ no redis-6: ")
        assert program.err == []
    finally:
        program.close()


def test_it_explains_itself(demo):
    story = demo("--help")
    assert story.ends() == 0
    assert "two real bot processes" in " ".join(" ".join(story.out).split())


def test_ctrl_c_ends_it_quietly_and_its_bots_with_it(demo):
    story = demo()
    story.says("2. An operator")
    assert story.stop(signal.SIGINT) == 130
    assert story.err == []
