"""A Redis that fails as a test wants it to, and tells a model how each batch went."""

import anyio

from botvisor.actors.backend.breaker import Failure
from botvisor.actors.backend.redis_errors import ErrorReply, LinkLost, RedisUnavailable, diagnose

PAUSE_S = 0.2  # between two bytes of an answer that trickles in
ERRORS = {
    "refuses": (LinkLost("redis", "Connection refused"), Failure.REFUSED),
    "hangs up after a byte": (LinkLost("redis", "Connection reset by peer"), None),
    "loads": (ErrorReply("LOADING Redis is loading the dataset in memory"), Failure.TRIPPED),
    "is a replica": (ErrorReply("READONLY You can't write against a read only replica."), Failure.TRIPPED),
    "wants a password": (ErrorReply("NOAUTH Authentication required."), Failure.DENIED),
}
BREAKS = [mode for mode, (error, _) in ERRORS.items() if isinstance(error, LinkLost)]
FULL = ErrorReply("OOM command not allowed when used memory > 'maxmemory'.")
MODES = ["serves", *ERRORS, "is full", "is silent", "trickles", "trickles for ever"]


class ScriptedLink:
    """What a circuit asks of a link: whether bytes come.

    It outlives a batch that was cut short: what that one is owed comes before the answer of the next.
    """

    def __init__(self, clock):
        self.broken = self.heard = False
        self.clock = clock
        self.quiet_since = clock()
        self.sent = False
        self.owed = 0  # pauses until the last answer that nobody waits for any more has trickled in
        self.owed_since = clock()

    def quiet_s(self):
        return self.clock() - self.quiet_since

    def hear(self):
        self.heard = True
        self.quiet_since = self.clock()

    def still_owed(self):
        return max(0, self.owed - round((self.clock() - self.owed_since) / PAUSE_S))

    def takes(self, pauses):
        """Return for how many pauses a new answer trickles in, the rest of what is owed included."""
        self.owed = self.still_owed() + pauses
        self.owed_since = self.clock()
        return self.owed


class ScriptedRedis:
    """In the place of a `RedisStore`, one batch after the other.

    Args:
        model: of the breaker.
        clock: the time.
    """

    def __init__(self, model, clock):
        self.mode = "serves"
        self.model = model
        self.clock = clock
        self.link = None
        self.lost = None  # the link that was lost last
        self.batches = 0
        self.probes = False
        self.strays = 0  # batches that began while the breaker was open
        self.remedies = []  # and when each was shown
        self._turn = anyio.Lock()

    async def execute(self, commands):
        changes, used = self.model.changes, self.link
        if used is not None and used.broken:
            used = None
        self.strays += self.model.state == "open" and not self.probes
        outcome = "silent"
        try:
            async with self._turn:
                self.batches += 1
                outcome, answers = await self._answer(commands)
                return answers
        finally:
            if outcome == "silent":  # a limit cut it short
                link = self.link
                quiet_s = link.quiet_s() if link is not None else self.clock()
                outcome = Failure.SILENT if quiet_s >= 1.5 else None
                if link is not None and not link.sent:
                    link.broken = True
            elif self.mode in BREAKS:
                if used is not None and used is self.lost:
                    changes = None  # it broke once, however many were on their way
                self.lost = used
            if changes == self.model.changes:
                if outcome == "good":
                    self.model.succeeds(self.clock())
                else:
                    self.model.fails(outcome, self.clock())

    async def ping(self):
        (answer,) = await self.execute(["ping"])
        if isinstance(answer, RedisUnavailable):
            raise answer

    async def look(self, commands):
        (answer,) = await self.execute([commands])
        if isinstance(answer, RedisUnavailable):
            raise answer
        return [answer]

    async def aclose(self):
        self.link = None

    def is_behind(self):
        """Return whether what comes next comes after what an earlier batch is still owed."""
        return self.link is not None and not self.link.broken and self.link.still_owed() > 0

    async def _answer(self, commands):
        if self.mode == "refuses":
            self.link = None
        elif self.link is None or self.link.broken:
            self.link = ScriptedLink(self.clock)
        if self.link is not None:
            self.link.heard, self.link.sent, self.link.quiet_since = False, False, self.clock()
        await anyio.sleep(0.001)
        if self.link is not None:
            self.link.sent = True
        match self.mode:
            case "is silent":
                await anyio.sleep_forever()
            case "trickles" | "trickles for ever":
                for _ in range(self.link.takes(8 if self.mode == "trickles" else 100)):
                    await anyio.sleep(PAUSE_S)
                    self.link.hear()
            case _ if self.link is not None:
                self.link.owed = 0  # what was on its way comes at once
        if self.link is not None:
            self.link.hear()
        if self.mode == "is full":
            return "good", [self._unavailable(FULL) for _ in commands]
        if self.mode in ERRORS:
            error, failure = ERRORS[self.mode]
            if self.link is not None and isinstance(error, LinkLost):
                self.link.broken = True
            return failure, [self._unavailable(error) for _ in commands]
        return "good", [f"answer to {command}" for command in commands]

    def _unavailable(self, error):
        answer = RedisUnavailable(diagnose(error))
        if answer.diagnosis.remedy:
            self.remedies.append((answer.diagnosis.remedy, self.clock()))
        return answer
