"""The demo: a story whose every step was observed."""

import re
import subprocess
import sys

from .processes import ROOT, environment

DEMO = ROOT / "scripts" / "demo.py"
LIMIT_S = 60


def run_demo(tmp_path, *arguments, **env):
    return subprocess.run(
        [sys.executable, str(DEMO), *arguments],
        env=environment(tmp_path, **env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def test_the_demo_shows_every_step_and_ends_by_itself(tmp_path):
    ended = run_demo(tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    chapters = re.split(r"^\d\. ", ended.stdout, flags=re.MULTILINE)[1:]
    assert len(chapters) == 6
    assert all("✓" in chapter for chapter in chapters)
    assert "✗" not in ended.stdout
    took_s = float(re.search(r"in ([\d.]+) s\.$", ended.stdout.strip())[1])
    assert took_s < 20


def test_a_step_that_is_not_observed_fails_the_demo(tmp_path):
    deaf = tmp_path / "deaf.py"
    deaf.write_text('import time\nprint(\'{"what": "running"}\', flush=True)\ntime.sleep(30)\n')
    ended = run_demo(tmp_path, "--bot", str(deaf))
    assert ended.returncode == 1
    assert "✗" in ended.stdout


def test_the_demo_explains_itself(tmp_path):
    ended = run_demo(tmp_path, "--help")
    assert ended.returncode == 0
    assert "two real bot processes" in " ".join(ended.stdout.split())
