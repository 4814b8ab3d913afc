"""The processes of a run: bots, senders and the observer."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time

import anyio

from . import observer
from .cast import Cast
from .ledger import Ledger
from .place import Place
from .records import Ended

STOP_LIMIT_S = 20.0  # a bot has 15 s of grace


class Member:
    """One of them: a module of this package, run with the run's folder and a name.

    Args:
        place: the run's folder.
        module: such as ``bot``.
        name: its name, and that of its ledger and its log.
        environment: its environment.
    """

    def __init__(self, place: Place, module: str, name: str, environment: dict[str, str]) -> None:
        self.name = name
        self.may_end = False  # an older sender ends when it has sent everything
        self.process: subprocess.Popen[bytes] | None = None
        self._log = place.logs / f"{name}.log"
        self._environment = environment
        # The kernel ends it if this program is killed.
        guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        self._command = [*guard, sys.executable, "-P", "-m", f"soaking.{module}", str(place.folder), name]

    @property
    def pid(self) -> int:
        """Its process id; 0 before it runs."""
        return self.process.pid if self.process is not None else 0

    def start(self) -> None:
        """Start it, or a successor of it."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it as kill -9 does. It is nobody's fault but the run's, so it is not watched any more."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait(STOP_LIMIT_S)

    def end_of_its_own(self) -> int | None:
        """Return the exit code of a process that ended unasked, once; None while all is well."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        self.process = None
        return None if self.may_end and code == 0 else code


class Fleet:
    """All of them.

    Args:
        place: the run's folder.
        cast: who takes part.
        environment: that of each of them.
        ledger: where it writes down who ended unasked.
    """

    def __init__(self, place: Place, cast: Cast, environment: dict[str, str], ledger: Ledger) -> None:
        self._ledger = ledger
        self.bots: dict[str, Member] = {}
        for bot in cast.bots:
            own = environment | ({"BOT_ID": bot.bot_id} if bot.bot_id else {})
            self.bots[bot.name] = Member(place, "bot", bot.name, own)
        self.senders = [Member(place, "sender", name, environment) for name in cast.senders]
        self.older = [Member(place, "older_sender", name, environment) for name in cast.older_senders]
        for member in self.older:
            member.may_end = True
        self.observer = Member(place, "observer", observer.NAME, environment)

    @property
    def members(self) -> list[Member]:
        """Everybody."""
        return [*self.bots.values(), *self.senders, *self.older, self.observer]

    def note_ends(self) -> list[Ended]:
        """Write down who has ended unasked since the last call."""
        found = [
            Ended(name=member.name, code=code, at=time.monotonic())
            for member in self.members
            if (code := member.end_of_its_own()) is not None
        ]
        for ended in found:
            self._ledger.write(ended)
        return found

    async def stop(self) -> None:
        """Tell everybody to stop, senders first, and write down who does not end well or in time."""
        self.note_ends()
        for members in ([self.observer, *self.older], self.senders, list(self.bots.values())):
            running = [(member, member.process) for member in members if member.process is not None]
            for _, process in running:
                process.send_signal(signal.SIGTERM)
            with anyio.move_on_after(STOP_LIMIT_S):
                while any(process.poll() is None for _, process in running):  # noqa: ASYNC110 - no event tells
                    await anyio.sleep(0.05)
            for member, process in running:
                code = process.poll()
                if code != 0 and not member.may_end:
                    self._ledger.write(Ended(name=member.name, code=code, at=time.monotonic()))
                member.kill()

    def kill(self) -> None:
        """End everybody at once."""
        for member in self.members:
            member.kill()
