"""The limit of open files grows with the number of bots, and never over the hard one."""

import subprocess
import sys

PROGRAM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from botvisor.open_files import make_room
for bots in {bots}:
    make_room(bots)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def limits(soft, hard, *bots):
    program = PROGRAM.format(soft=soft, hard=hard, bots=bots)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return tuple(map(int, done.stdout.split()))


def test_a_few_bots_change_nothing():
    assert limits(1024, 4096, 1, 2, 3) == (1024, 4096)


def test_many_bots_raise_the_soft_limit():
    soft, hard = limits(1024, 16384, 500)
    assert (soft > 500 * 4, hard) == (True, 16384)


def test_the_hard_limit_is_kept():
    assert limits(512, 1024, 10_000) == (1024, 1024)
