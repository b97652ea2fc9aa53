"""When a subscription is stuck although nothing says so. Pure."""

from __future__ import annotations

PATIENCE_S = 30.0


class Watchdog:
    """Looks at a subscription's state from time to time; times are monotonic seconds.

    After a wipe a member may stay without partitions for ever, and a consumer may fetch nothing,
    both without an exception. A job in hand for hours is neither.
    """

    def __init__(self, patience: float, now: float) -> None:
        self._patience = patience
        self._settled_at = now
        self._moved_at = now
        self._received = 0

    def verdict(self, now: float, *, settled: bool, behind: bool, received: int) -> str | None:
        """Why the subscription must be rebuilt, or None.

        `settled`: the group has told it its partitions. `behind`: a partition that it wants to
        read has messages that it has not got. `received`: messages read so far.
        """
        if settled:
            self._settled_at = now
        if not settled or not behind or received != self._received:
            self._moved_at = now
        self._received = received
        if now - self._settled_at >= self._patience:
            return "no assignment"
        if now - self._moved_at >= self._patience:
            return "messages wait and none arrives"
        return None
