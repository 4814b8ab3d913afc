"""./scripts/soak: a short run with real faults, and the verdict on ledgers that were tampered with."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from . import redis_server
from .processes import ROOT, Program, environment
from .soak_rig import Accepted, Handled, Ledger, Options, Place, accepted, can_draw, draw, handled, read

SEED = 20
SECONDS = 12
MESSAGES = 240
LIMIT_S = 200.0  # of a run, on a machine that has much else to do
pytestmark = [pytest.mark.xdist_group("soak"), pytest.mark.timeout(240)]  # one run is enough for all


def soak(folder, *arguments, limit_s=LIMIT_S):
    return subprocess.run(
        [sys.executable, "-P", "-m", "soaking", *map(str, arguments)],
        env=environment(folder, PYTHONPATH=str(ROOT / "scripts")),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=limit_s,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run, its result, and the folder that it kept."""
    redis_server.need()
    folder = tmp_path_factory.mktemp("soak")
    arguments = ["--seed", SEED, "--seconds", SECONDS, "--messages", MESSAGES, "--patience", 45]
    done = soak(folder, *arguments, "--keep", "--json", "result.json")
    _, told, path = done.stderr.rstrip().rpartition(" kept in ")
    assert told, done.stderr
    kept = Path(path)
    try:
        yield done, folder / "result.json", kept
    finally:
        shutil.rmtree(kept, ignore_errors=True)


def test_nothing_is_lost_and_nothing_comes_twice_unmarked(run):
    done, file, _ = run
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    result = json.loads(file.read_text())
    verdict = result["verdict"]
    assert verdict["sent"] >= MESSAGES  # and what told an actor to crash
    assert verdict["handled"] >= verdict["sent"] - verdict["dead"]
    for none in ("lost", "lost_unpromised", "unmarked", "misdelivered", "waiting", "false_receipts"):
        assert verdict[none] == 0
    assert verdict["ended"] == []
    assert sum(result["timeline"]["handled"]) <= verdict["handled"] + verdict["redelivered"]
    assert result["failover_s"]["count"] == sum(
        fault["kind"] in ("redis-kill", "hang", "reset") for fault in result["faults"]
    )


def test_the_faults_are_those_that_its_seed_draws(run):
    done, file, _ = run
    result = json.loads(file.read_text())
    assert f"seed {SEED};" in done.stderr.splitlines()[0]
    drawn = [fault for fault in draw(Options(**result["settings"])) if fault.kind not in result["skipped"]]
    struck = [(fault["kind"], fault["target"], fault["planned_s"]) for fault in result["faults"]]
    assert struck == [(fault.kind, fault.target, pytest.approx(fault.at, abs=0.002)) for fault in drawn]
    assert {"redis-kill", "hang", "reset", "bot-kill", "actor-crash"} <= {kind for kind, _, _ in struck}
    assert all(fault["at_s"] >= fault["planned_s"] - 0.002 for fault in result["faults"])


def test_every_process_it_started_has_ended(run):
    _, _, kept = run
    own = [path.name for path in Path("/proc").glob("[0-9]*") if str(kept).encode() in command_line(path)]
    assert own == []


def command_line(process):
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def test_a_kept_folder_gives_the_same_verdict_again(run, tmp_path):
    _, file, kept = run
    again = soak(tmp_path, "--judge", kept, "--json", "-")
    assert (again.returncode, again.stderr) == (0, "")
    assert json.loads(again.stdout) == json.loads(file.read_text())


def tampered(kept, folder):
    shutil.copytree(kept, folder / "tampered", ignore=shutil.ignore_patterns("redis", "store*"))
    return Place(folder / "tampered")


def a_delivery(place):
    """The first delivery to one bot of a message that was acknowledged."""
    sent = {line.id for line in place.records() if isinstance(line, Accepted)}
    return next(
        line for line in read([place.ledger("own1")]) if isinstance(line, Handled) and line.id in sent
    )


def test_a_message_that_its_bot_never_wrote_down_is_a_loss(run, tmp_path):
    place = tampered(run[2], tmp_path)
    path = place.ledger("own1")
    gone = a_delivery(place)
    path.write_text(
        "".join(line for line in path.read_text().splitlines(keepends=True) if gone.id not in line)
    )
    judged = soak(tmp_path, "--judge", place.folder)
    assert judged.returncode == 1
    assert "lost            1," in judged.stdout
    assert gone.id in judged.stdout


def test_a_message_that_was_handled_again_without_a_mark_is_an_unmarked_repeat(run, tmp_path):
    place = tampered(run[2], tmp_path)
    again = a_delivery(place)
    Ledger(place.ledger("own1")).write(handled(again.id, at=again.at + 1))
    judged = soak(tmp_path, "--judge", place.folder, "--json", "tampered.json")
    assert judged.returncode == 3
    verdict = json.loads((tmp_path / "tampered.json").read_text())
    assert (verdict["exit_code"], verdict["verdict"]["unmarked"]) == (3, 1)
    assert [found["id"] for found in verdict["findings"]["unmarked"]] == [again.id]


def test_the_picture_is_drawn_or_it_says_how_to_get_it(run, tmp_path):
    judged = soak(tmp_path, "--judge", run[2], "--plot", "line.png")
    assert judged.returncode == 0
    if can_draw():
        assert (tmp_path / "line.png").read_bytes().startswith(b"\x89PNG")
    else:
        assert judged.stderr.startswith("no picture: matplotlib is missing. Install it with ")


def test_a_folder_that_is_none_of_a_run_is_refused_in_a_sentence(tmp_path):
    Ledger(tmp_path / "a.jsonl").write(accepted("a"))
    judged = soak(tmp_path, "--judge", tmp_path)
    assert (judged.returncode, judged.stdout) == (5, "")
    assert "is no folder of a run" in judged.stderr
    assert "Traceback" not in judged.stderr


def test_the_help_teaches_and_lists_the_exit_codes(tmp_path):
    shown = soak(tmp_path, "--help")
    assert shown.returncode == 0
    for taught in ("--seed 7", "--persistence none", "--judge FOLDER", "exit codes:", "  130  it was"):
        assert taught in shown.stdout
    assert os.access(ROOT / "scripts" / "soak", os.X_OK)


def test_ctrl_c_ends_it_and_all_its_processes(tmp_path):
    redis_server.need()
    arguments = ["-P", "-m", "soaking", "--seconds", "60"]
    with contextlib.closing(Program(arguments, tmp_path, PYTHONPATH=str(ROOT / "scripts"))) as program:
        folder = program.says("the run is in ").rpartition(" ")[2]
        try:
            program.says("senders run")
            assert program.stop(signal.SIGINT) == 130
            own = [path for path in Path("/proc").glob("[0-9]*") if folder.encode() in command_line(path)]
            assert own == []
            assert "Traceback" not in program.stderr
        finally:
            program.close()
            shutil.rmtree(folder, ignore_errors=True)
