"""Build the sdist and wheel from a clean export of the working tree and use the wheel as bots do."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

from pythons import VERSIONS, find

ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).parent / "uv"
HOMES = {"runtime": "botvisor", "actors": "botvisor/actors", "config": "botvisor/config"}
# What setuptools adds to a source archive.
SDIST_EXTRAS = ("PKG-INFO", "setup.cfg", "botvisor.egg-info/")
OURS = ("BOT_", "REDIS_", "USE_REDIS")
DIRECTORIES = ("BOT_ADMIN_MESSAGE_DIR", "BOT_HEARTBEAT_DIR", "BOT_IDENTITY_DIR")

BOT_FILES = {
    "config.py": "ROOM = 'https://rooms.example/wheel'\n",
    "runtime.py": "GREETING = 'from the bot'\n",
    "actors.py": "CAST = ['user1']\n",
    "bot.py": """
import actors, config, runtime
from botvisor import run_bot

async def main(bot):
    bot.participants.add(actors.CAST[0])
    return f"{runtime.GREETING} in {bot.room_url}"

answer = run_bot(main, room_url=config.ROOM)
assert answer == "from the bot in https://rooms.example/wheel", answer
""",
}
# An operator's look at a bot that waits: on each Python that is found.
WAITS = """
from botvisor import run_bot

async def main(bot):
    print("serves", flush=True)
    async for message in bot.inbox:
        print(message.text, flush=True)

run_bot(main, room_url="https://rooms.example/wheel", bot_id="ada")
"""
# Each bare name must stay free for the bot.
STRANGER = """
for name in ("runtime", "actors", "config"):
    try:
        module = __import__(name)
    except ModuleNotFoundError as error:
        assert error.name == name, error
    else:
        raise SystemExit(f"import {name} found {module.__file__}")
import botvisor.actors, botvisor.config
"""


class CheckFailed(Exception):
    """The wheel is not what the tree promises."""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="botvisor-wheel-") as folder:
        place = Path(folder).resolve()
        try:
            tree = export_tree(place / "source")
            uv("build", "--python", sys.executable, "--out-dir", str(place / "dist"), cwd=place / "source")
            [sdist], [wheel] = (list((place / "dist").glob(pattern)) for pattern in ("*.tar.gz", "*.whl"))
            compare_wheel(wheel, tree)
            compare_sdist(sdist, tree)
            try_out(wheel, place)
            for version in VERSIONS:
                try_on(version, wheel, place)
        except CheckFailed as failure:
            print(failure)
            return 1
    return 0


def export_tree(target: Path) -> dict[str, bytes]:
    """Copy what git knows or would add, as it is now: no build folder, nothing ignored."""
    # A checkout that another user owns is as good as any, for a list of names.
    listing = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    listed = run("git", "-c", f"safe.directory={ROOT}", *listing, cwd=ROOT)
    tree = {name: (ROOT / name).read_bytes() for name in listed.split("\0") if (ROOT / name).is_file()}
    for name, content in tree.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
    return tree


def compare_wheel(wheel: Path, tree: dict[str, bytes]) -> None:
    expected = {}
    for name, content in tree.items():
        folder, _, rest = name.partition("/")
        if folder in HOMES:
            expected[f"{HOMES[folder]}/{rest}"] = content
    with zipfile.ZipFile(wheel) as archive:
        found = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    explain("the wheel lacks", expected.keys() - found.keys())
    explain("the wheel has what the tree has not:", found.keys() - expected.keys())
    explain("the wheel has another content of", {name for name in found if found[name] != expected[name]})
    print(f"{wheel.name} holds the {len(found)} files of {', '.join(HOMES)}, byte for byte")


def compare_sdist(sdist: Path, tree: dict[str, bytes]) -> None:
    """The wheel was built from the sdist, so nothing is missing: look for what should not be there."""
    with tarfile.open(sdist) as archive:
        found = {member.name.partition("/")[2] for member in archive if member.isfile()}
    foreign = {name for name in found - tree.keys() if not name.startswith(SDIST_EXTRAS)}
    explain("the sdist has what the tree has not:", foreign)
    print(f"{sdist.name} holds nothing but files of the tree")


def try_out(wheel: Path, place: Path) -> None:
    """Install the wheel alone in a new environment and use it in folders that know nothing of this one."""
    venv = place / "venv"
    python = str(venv / "bin" / "python")
    uv("venv", "--python", sys.executable, str(venv), cwd=place)
    uv("pip", "install", "--python", python, str(wheel), cwd=place)

    stranger = place / "stranger"
    stranger.mkdir()
    (stranger / "look.py").write_text(STRANGER)
    run(python, "look.py", cwd=stranger)
    print("installed alone: import runtime, import actors and import config find nothing")

    version = tomllib.loads((place / "source" / "pyproject.toml").read_text())["project"]["version"]
    for command in ([str(venv / "bin" / "botvisor")], [python, "-m", "botvisor"]):
        answer = run(*command, "--version", cwd=stranger)
        if version not in answer:
            raise CheckFailed(f"{' '.join(command)} --version answers {answer!r}, not {version}")
    print(f"botvisor --version and python -m botvisor --version answer {version}")

    bot = place / "bot"
    bot.mkdir()
    for name, text in BOT_FILES.items():
        (bot / name).write_text(text)
    run(python, "bot.py", cwd=bot)
    print("a bot with its own config.py, runtime.py and actors.py ran run_bot(main)")


def try_on(version: str, wheel: Path, place: Path) -> None:
    """Install the wheel as operators do, on another Python, and let them see, message and drain a bot."""
    found = find(version)
    if found is None:
        print(f"Python {version} is not here: the wheel was not tried on it")
        return
    folder = place / version
    folder.mkdir()
    (folder / "bot.py").write_text(WAITS)
    programs = folder / "venv" / "bin"
    uv("venv", "--python", found, str(folder / "venv"), cwd=folder)
    uv("pip", "install", "--python", str(programs / "python"), f"{wheel}[ops]", cwd=folder)
    bot = subprocess.Popen(
        [programs / "python", "bot.py"],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert bot.stdout is not None
        if "serves" not in bot.stdout.readline():
            raise CheckFailed(f"on Python {version} the bot did not start")
        for command in ("--help", "doctor", "ps", "why ada", "send ada hello --wait 10", "drain ada"):
            answer = run(str(programs / "botvisor"), *command.split(), cwd=folder)
            if command == "ps" and "healthy" not in answer:
                raise CheckFailed(f"on Python {version} botvisor ps answers {answer!r}")
        said, code = bot.stdout.read(), bot.wait(timeout=30)
    finally:
        bot.kill()
    if (said, code) != ("hello\n", 0):
        raise CheckFailed(f"on Python {version} the bot said {said!r}, and ended with {code}")
    print(f"botvisor[ops] on Python {version}: a bot was seen, sent to and drained")


def uv(*arguments: str, cwd: Path) -> None:
    run(str(UV), "--quiet", *arguments, cwd=cwd)


def run(*command: str, cwd: Path) -> str:
    """Run a command; return what it printed."""
    result = subprocess.run(
        command, cwd=cwd, env=environment(cwd), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if result.returncode != 0:
        raise CheckFailed(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def environment(folder: Path) -> dict[str, str]:
    """Return the environment without variables of botvisor's own but for its directories, in a folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    kept |= {name: str(folder / name.lower()) for name in DIRECTORIES}
    kept.setdefault("UV_LINK_MODE", "copy")
    return kept


def explain(problem: str, names: set[str]) -> None:
    if names:
        raise CheckFailed("\n  ".join([problem, *sorted(names)]))


if __name__ == "__main__":
    sys.exit(main())
