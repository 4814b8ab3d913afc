"""scripts/examples: each runs, and the shortest is the README's. The Pipecat bot has tests of its own."""

import ast
import json
import signal
import urllib.error
import urllib.request

import anyio
import pytest

from botvisor import open_client

from . import cli_rig
from .fleet import settings_in
from .processes import LIMIT_S, ROOT, Program
from .readme import blocks, is_script

EXAMPLES = ROOT / "scripts" / "examples"
ROOMS = [f"https://example.daily.co/{number}" for number in range(3)]

command = cli_rig.command


@pytest.fixture
def run(tmp_path):
    programs = []

    def start(name, *arguments, **env):
        command = [EXAMPLES / name, *arguments] if name.endswith(".py") else ["-m", name, *arguments]
        programs.append(Program(command, tmp_path, **env))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


def tell(folder, target, text):
    async def main():
        async with open_client(settings_in(folder)) as client:
            return await client.send(target, text, wait=LIMIT_S)

    return anyio.run(main).state


def test_each_example_is_run_by_a_test():
    here = {"five_lines.py", "demo_bot.py", "custom_actor.py", "fleet.py", "gateway.py"}
    assert {file.name for file in EXAMPLES.glob("*.py")} == here | {"pipecat_bot.py"}


def test_five_lines_says_what_it_hears_until_it_is_told_to_wrap_up(run, tmp_path):
    bot = run("five_lines.py", BOT_ID="ada")
    for text in ("hello", "wrap up"):
        assert tell(tmp_path, "ada", text) == "handled"
    assert bot.ends() == 0
    assert bot.out == ["somebody says: hello", "somebody says: wrap up"]


def test_five_lines_is_the_first_block_of_the_readme():
    readme = next(code for language, code in blocks() if is_script((language, code)))
    example = ast.parse((EXAMPLES / "five_lines.py").read_text())
    del example.body[0]  # the docstring
    assert ast.dump(ast.parse(readme)) == ast.dump(example)


def test_the_demos_bot_tells_what_happens_to_it(run, tmp_path):
    bot = run("demo_bot.py", "https://example.daily.co/ada", BOT_ID="ada")
    assert json.loads(bot.says("running")) == {"what": "running", "bot_id": "ada"}
    for text in ("hello", "crash your heartbeat", "still there?"):
        assert tell(tmp_path, "ada", text) == "handled"
    assert "ada/heartbeat failed on Fault" in bot.says("failed")
    assert bot.stop(signal.SIGTERM) == 0
    assert json.loads(bot.out[-1]) == {"what": "wrapping up"}


def test_an_actor_of_the_authors_own_is_supervised_seen_and_restarted_as_the_bots_are(run, tmp_path, command):
    bot = run("custom_actor.py", ROOMS[0], BOT_ID="ada")
    bot.says("notebook 1 has 0 pages")
    for text in ("recall", "remember milk", "spill ink", "recall", "dance"):
        assert tell(tmp_path, "ada", text) == "handled"
    assert bot.out[1:] == [
        "sorry: nothing was noted yet",
        "noted: milk",
        "sorry: ada/notebook crashed on this message: RuntimeError: ink all over",
        "notebook 2 has 1 pages",
        "noted: milk",
        "remember WHAT, recall, or spill ink",
    ]
    assert command("restart", "ada", "notebook")[0] == 0
    bot.says("notebook 3 has 1 pages")
    assert "it has identity, heartbeat, inbox, notebook" in command("restart", "ada", "novel")[2]
    assert bot.stop() == 0
    assert bot.out[-1] == "the notebook is closed: SIGTERM"
    [row] = json.loads(command("ps", "--all", "--json")[1])
    assert (row["restarts"], row["status"]) == (1, "stopped")
    assert "notebook on SpillInk, RuntimeError: ink all over" in " ".join(command("why", "ada")[1].split())


def test_many_bots_share_a_process_and_stop_together(run, tmp_path):
    fleet = run("fleet.py", *ROOMS)
    for room in ROOMS[1:]:
        assert tell(tmp_path, room, "hello") == "handled"
        fleet.says(f"{room} hears: hello")
    assert tell(tmp_path, ROOMS[0], "wrap up") == "handled"
    fleet.says(f"{ROOMS[0]} heard 1 messages")
    assert fleet.stop() == 0
    assert fleet.out[-2:] == [f"{room} heard 1 messages" for room in ROOMS[1:]]


def ask(url, body=None):
    """Ask a web server; returns the status and what it answered."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.fixture
def gateway(run):
    """Starts the gateway; returns its program and its address."""

    def start(**env):
        server = run("uvicorn", "--app-dir", EXAMPLES, "gateway:app", "--port", "0", **env)
        return server, server.says("Uvicorn running on").split(" on ")[1].split()[0]

    return start


def test_the_gateway_messages_bots_and_shows_how_far_each_message_came(run, gateway):
    bot = run("five_lines.py", BOT_ID="ada")
    server, url = gateway()
    bot.says("Sent heartbeat for bot ada", times=2)  # the first says that it starts
    assert ask(f"{url}/bots") == (200, [{"bot_id": "ada", "status": "healthy", "participants": []}])
    status, receipt = ask(f"{url}/bots/ada/messages", {"text": "hello", "wait_secs": 20})
    assert (status, receipt["state"], receipt["target"]) == (200, "handled", "ada")
    assert 0 < receipt["stored_ms"] <= receipt["delivered_ms"] <= receipt["handled_ms"]
    status, receipt = ask(f"{url}/bots/ada/messages", {"text": "wrap up", "wait_secs": 0})
    assert (status, receipt["state"]) == (202, "stored")
    assert bot.ends() == 0
    assert ask(f"{url}/bots/ada/messages/{receipt['id']}") == (200, {"id": receipt["id"], "state": "handled"})
    assert bot.out == ["the gateway says: hello", "the gateway says: wrap up"]
    assert ask(f"{url}/bots/bob/messages", {"text": "hello"}) == (404, {"detail": "no bot bob is known"})
    assert ask(f"{url}/bots/ada/messages", {"text": ""})[0] == 422
    assert ask(f"{url}/bots/a%20b/messages", {"text": "hello"})[0] == 422
    server.stop()
    assert "Application shutdown complete" in server.stderr


def test_the_gateway_says_so_when_nothing_can_store_a_message(gateway):
    _, url = gateway(USE_REDIS="true", REDIS_URL="redis://127.0.0.1:1", BOT_FILE_FALLBACK="false")
    status, told = ask(f"{url}/bots/ada/messages", {"text": "hello"})
    assert (status, list(told)) == (503, ["detail"])


def test_a_gateway_whose_settings_are_wrong_does_not_start(run):
    server = run("uvicorn", "--app-dir", EXAMPLES, "gateway:app", "--port", "0", USE_REDIS="perhaps")
    assert server.ends() != 0
    assert "USE_REDIS" in server.stderr
