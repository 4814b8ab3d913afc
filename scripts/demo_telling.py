"""How ./scripts/demo tells its story on a terminal."""

import os
import sys

COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


class NotSeenError(Exception):
    """A step did not show what it promises."""


class Chapters:
    """Numbers the chapters."""

    def __init__(self) -> None:
        self.count = 0

    def begin(self, title: str) -> None:
        self.count += 1
        print(f"\n{paint('1', f'{self.count}. {title}')}", flush=True)


def paint(code: str, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


def heard(who: str, text: str) -> None:
    print(paint("2", f"    {who:>8} │ {text}"), flush=True)


def seen(text: str) -> None:
    print(f"  {paint('32', '✓')} {text}", flush=True)


def check(observed: bool, what: str) -> None:
    if not observed:
        raise NotSeenError(what)
