"""The garbage collector and the bots: it is not to look through those that live on again and again.

A thousand bots are half a million objects. Each full collection looks at all of them, and the event loop
stands still for that time: 0.3 s for a thousand bots, seconds for ten thousand.
"""

from __future__ import annotations

import gc

STEP = 128  # bots more, until the collector is told again
_FULL_EVERY = 100  # of the smaller collections; 10 by default, but full ones see few objects now
_INTERPRETERS = 1_000  # objects at most that Python itself freezes as it starts: 3.12 does


class Heap:
    """Puts what many bots are made of out of the collector's sight (`gc.freeze`), and back as they end.

    Full collections are rarer meanwhile: by its own count a small heap is looked through for every few
    changes. A process of few bots is left alone, and so is one whose author freezes, or has switched the
    collector off.
    """

    def __init__(self) -> None:
        self._frozen = 0  # so many bots were alive then
        self._ended = 0  # since then
        self._thresholds = gc.get_threshold()

    def grew(self, bots: int) -> None:
        """Freeze whatever is alive, if that is many bots more than the last time.

        Args:
            bots: how many are alive.
        """
        others = not self._frozen and gc.get_freeze_count() > _INTERPRETERS
        if bots - self._frozen < STEP or others or not gc.isenabled():
            return
        if not self._frozen:
            self._thresholds = gc.get_threshold()
            gc.set_threshold(*self._thresholds[:2], _FULL_EVERY)
        gc.collect()  # what is garbage already would be kept; the frozen ones are not looked at
        gc.freeze()
        self._frozen = bots

    def shrank(self) -> None:
        """One has ended. Once that is half of them, the collector may look for what they have left."""
        self._ended += 1
        if self._ended * 2 >= self._frozen:
            self.thaw()

    def thaw(self) -> None:
        """Let the collector see everything again."""
        if self._frozen:
            gc.unfreeze()
            gc.set_threshold(*self._thresholds)
        self._frozen = self._ended = 0
