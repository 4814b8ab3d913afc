"""Install an earlier botvisor out of a wheel of its own into .venv-previous; print the path of its Python.

PREVIOUS names its commit or tag. Without it that is the newest release before this one; else COMMIT.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from check_wheel import CheckFailed, run, uv

ROOT = Path(__file__).resolve().parent.parent
# The last state before the stores were rewritten for speed. To be taken away with the second release.
COMMIT = "f3464b0"
VENV = ROOT / ".venv-previous"
PYTHON = VENV / "bin" / "python"
NOTE = VENV / "commit"


def main() -> int:
    try:
        commit = commit_of(os.environ.get("PREVIOUS") or latest_release() or COMMIT)
        if not is_there(commit):
            install(commit)
    except CheckFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    print(PYTHON)
    return 0


def latest_release() -> str:
    """Return the newest tag of a release that the last commit is not itself; empty if there is none."""
    try:
        return git("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^")
    except CheckFailed:
        return ""


def commit_of(name: str) -> str:
    try:
        return git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    except CheckFailed:
        raise CheckFailed(f"{name} is not in this clone: git fetch --unshallow --tags") from None


def is_there(commit: str) -> bool:
    """Tell whether the environment holds this commit, and its Python is the one that runs this."""
    try:
        return NOTE.read_text() == note_of(commit) and subprocess.run([PYTHON, "-c", ""]).returncode == 0
    except OSError:
        return False


def install(commit: str) -> None:
    print(f"building the botvisor of {commit[:10]}…", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="botvisor-previous-") as folder:
        place = Path(folder)
        source = place / "source"
        source.mkdir()
        git("archive", "--output", str(place / "source.tar"), commit)
        run("tar", "-xf", str(place / "source.tar"), cwd=source)
        uv("build", "--wheel", "--python", sys.executable, "--out-dir", str(place / "dist"), cwd=source)
        [wheel] = (place / "dist").glob("*.whl")
        uv("venv", "--clear", "--python", sys.executable, str(VENV), cwd=place)
        uv("pip", "install", "--python", str(PYTHON), str(wheel), cwd=place)
    NOTE.write_text(note_of(commit))


def note_of(commit: str) -> str:
    return f"{commit}\n{sys.version}\n"


def git(*arguments: str) -> str:
    # A checkout that another user owns is as good as any, to read from.
    return run("git", "-c", f"safe.directory={ROOT}", *arguments, cwd=ROOT).strip()


if __name__ == "__main__":
    sys.exit(main())
