"""`botvisor web` as a program."""

import http.client
import json
import re
import signal
import socket
from pathlib import Path

import pytest

from . import cli_rig
from .processes import Program
from .web_rig import TOKEN

command = cli_rig.command


@pytest.fixture
def start(tmp_path):
    """Starts the command as a process; returns it and its port."""
    programs = []

    def run(*arguments, **env):
        programs.append(Program(["-m", "botvisor", "web", "--port", "0", *arguments], tmp_path, **env))
        line = programs[-1].says("http://")
        return programs[-1], int(re.search(r":(\d+)/", line)[1])

    yield run
    for program in programs:
        program.close()


def get(port, **fields):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/api/1/fleet", headers=fields)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(start, number):
    program, port = start()
    assert get(port) == 200
    assert program.stop(number) == 0
    assert program.stderr == ""


def test_the_token_is_in_neither_the_output_nor_the_process_list(start, tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    program, port = start("--token-file", str(file), "--json")
    assert get(port) == 401
    assert get(port, Authorization=f"Bearer {TOKEN}") == 200
    assert TOKEN.encode() not in Path(f"/proc/{program.pid}/cmdline").read_bytes()
    assert program.stop() == 0
    assert json.loads(program.out[0]) == {"url": f"http://127.0.0.1:{port}/"}
    assert TOKEN not in program.stderr + "".join(program.out)


def test_the_token_comes_from_a_variable(start):
    _, port = start("--token-env", "WEB_TOKEN", WEB_TOKEN=TOKEN)
    assert get(port) == 401
    assert get(port, Authorization=f"Bearer {TOKEN}") == 200


def test_without_the_extra_it_says_what_to_install(command, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    code, out, err = command("web")
    assert (code, out) == (1, "")
    assert err == "botvisor: the web page needs what `pip install 'botvisor[web]'` installs\n"


def test_what_cannot_be_served_is_said_in_a_sentence(command, tmp_path):
    file = tmp_path / "token"
    file.write_text("\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, said in (
            (["--host", "0.0.0.0"], "0.0.0.0 can be reached from other hosts: that needs a token"),
            (["--port", port], f"cannot listen on 127.0.0.1 port {port}: "),
            (["--token-file", str(tmp_path / "none")], "the file with the token cannot be read: "),
            (["--token-file", str(file)], "token holds no token: it is empty"),
            (["--token-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE holds no token: it is unset or empty"),
        ):
            code, out, err = command("web", *arguments)
            assert (code, out) == (1, "")
            assert said in err
    assert command("web", "--port", "70000")[0] == 2


def test_a_short_token_is_refused_and_not_shown(command):
    code, _, err = command("web", "--token-env", "WEB_TOKEN", WEB_TOKEN="short-token")
    assert code == 1
    assert "at least 16 characters" in err
    assert "short-token" not in err


def test_a_token_that_others_can_read_earns_a_warning(command, tmp_path):
    file = tmp_path / "token"
    file.write_text("short")
    file.chmod(0o644)
    _, _, err = command("web", "--token-file", str(file))
    assert "others can read" in err
