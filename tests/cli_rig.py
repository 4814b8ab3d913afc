"""The `botvisor` command for tests: as a program, and within the tests' own process.

Take the fixtures over by their names: ``from . import cli_rig`` and ``command = cli_rig.command``.
"""

import subprocess
import sys

import pytest
from loguru import logger

from botvisor.cli import main

from .processes import LIMIT_S, environment


@pytest.fixture
def botvisor(tmp_path):
    """Runs the command: returns its exit code, its output and its errors."""

    def run(*arguments, **env):
        done = subprocess.run(
            [sys.executable, "-m", "botvisor", *arguments],
            env=environment(tmp_path, **env),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs the command in this very process, which is quicker; returns the same."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)

    def run(*arguments, **env):
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        try:
            code = main(arguments)
        except SystemExit as error:
            code = error.code or 0
        return code, *capsys.readouterr()

    yield run
    logger.enable("botvisor")
