"""A wall clock that a test can set for programs it starts: the machine's own is everybody's.

Python's `time.time` and `datetime.now` are replaced, in those programs alone; the kernel dates files as ever.
"""

import os

_SITECUSTOMIZE = """
import datetime, os, time

def ahead_s():
    with open(os.environ["TEST_CLOCK"]) as file:
        return float(file.read() or 0)

kernels, kernels_ns = time.time, time.time_ns
time.time = lambda: kernels() + ahead_s()
time.time_ns = lambda: kernels_ns() + int(ahead_s() * 1e9)

class Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)

datetime.datetime = Datetime
"""


class SetClock:
    """The clock of programs that are started with its variables.

    Args:
        folder: where it is kept.
    """

    def __init__(self, folder):
        self._file = folder / "clock"
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(_SITECUSTOMIZE)
        self.set(0)
        path = os.pathsep.join(filter(None, [str(folder / "site"), os.environ.get("PYTHONPATH")]))
        self.variables = {"PYTHONPATH": path, "TEST_CLOCK": str(self._file)}

    def set(self, ahead_s):
        """Set it so many seconds ahead of the machine's; running programs see it at once."""
        new = self._file.with_suffix(".new")
        new.write_text(str(ahead_s))
        new.rename(self._file)
