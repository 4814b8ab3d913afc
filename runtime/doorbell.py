"""The doorbell protocol: who waits is told when something came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .store import Queue

Ring = Callable[[], None]
"""Called on the event loop; it must neither block nor raise."""

End = Callable[[], None]
"""Ends a subscription; it may be called twice."""


class Doorbell(Protocol):
    """Tells who waits that something came. A ring may be spurious; every arrival is followed by a ring.

    Somebody must run it meanwhile: it rings everyone once at the start, for what came before.

    What has no list behind it, a broadcast and the news of a changed identity, is told best effort, and by
    stores that have such a thing.
    """

    def subscribe(self, target: Queue | str, ring: Ring) -> End:
        """Call `ring` when something comes for a queue, or for a bot's control (its id).

        Args:
            target: a queue, or a bot's id for its control objects.
            ring: called on the event loop; it must neither block nor raise.

        Returns:
            A function that ends the subscription.
        """
        ...

    def on_broadcast(self, receive: Callable[[bytes], None]) -> End:
        """Hand every broadcast over.

        Args:
            receive: called on the event loop with the bytes; it must neither block nor raise.

        Returns:
            A function that ends the subscription.
        """
        ...

    def on_identity_changed(self, room_url: str, changed: Callable[[str | None], None]) -> End:
        """Tell whose identity somebody wrote in a room.

        Args:
            room_url: the room, as writers give it.
            changed: called on the event loop with the participant's id, or with None when it may be
                anybody's; it must neither block nor raise.

        Returns:
            A function that ends the subscription.
        """
        ...
