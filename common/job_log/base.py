"""The contract of the transport: topics of messages, shared by groups or read by everyone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Start(StrEnum):
    """Where a reader without a committed position begins."""

    EARLIEST = "earliest"
    LATEST = "latest"


class TopicPartition(NamedTuple):
    """One ordered sequence of messages."""

    topic: str
    partition: int


class Position(NamedTuple):
    """Where one message lies."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """One partition as a group sees it. `committed` is the lowest offset still to be finished."""

    start: int  # offset of the oldest message kept
    committed: int  # from start to end; without a group, or without a commit, the start
    end: int  # offset that the next message will get

    @property
    def lag(self) -> int:
        """Messages not finished yet; those being worked on count."""
        return self.end - self.committed


def bounds_of(start: int, committed: int | None, end: int) -> Bounds:
    """Bounds from what a log says. A commit past the end belongs to a log that was wiped."""
    if committed is None or committed > end:
        committed = start
    return Bounds(start=start, committed=max(committed, start), end=end)


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One message in hand. It is handed out again unless it is acknowledged."""

    position: Position
    key: str
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Subscription(ABC):
    """A read handle. Use it from one task at a time for `receive`; the rest is free."""

    @abstractmethod
    async def receive(self, limit: int, timeout: float) -> list[Delivery]:
        """At least one and at most `limit` messages, or none after `timeout` seconds.

        Topics that all have messages waiting are drained by their weights. Never hands out a
        message that this subscription holds already. Ends with none when the subscription is
        closed. Raises LogUnavailable.
        """

    @abstractmethod
    async def acknowledge(self, *deliveries: Delivery) -> None:
        """These are finished: no reader of the group gets them again, in any order.

        Returns when the log has it; a loss of power may undo that, and they come again. A delivery
        of a partition that was lost meanwhile is passed over in silence: its new owner decides.
        Without a group it does nothing. Raises LogUnavailable; the deliveries then may come again.
        """

    @abstractmethod
    async def release(self, *deliveries: Delivery) -> None:
        """Hand these out again, here or to another reader of the group."""

    @abstractmethod
    async def holds(self, delivery: Delivery) -> bool:
        """Whether the delivery is still this reader's, asked of the log.

        False during a rebalance, and without a group. Raises LogUnavailable.
        """

    @abstractmethod
    async def close(self) -> None:
        """Leave the group. What was not acknowledged goes to the others at once."""


class JobLog(ABC):
    """The transport. Topics come into being when they are first named."""

    @abstractmethod
    async def append(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, str]
    ) -> Position:
        """Add a message and return where it lies, once that is durable. Raises LogUnavailable.

        Messages with one key keep their order. Safe to call many times at once.
        """

    @abstractmethod
    async def subscribe(
        self,
        topics: Mapping[str, int],
        *,
        group: str | None,
        start: Start = Start.EARLIEST,
        capacity: int = 1000,
    ) -> Subscription:
        """A reader of `topics` (name -> weight). Raises LogUnavailable.

        With a group the messages are shared among its readers; without, each reader gets all,
        from `start`. At most `capacity` messages are held, in hand and read ahead together.
        """

    @abstractmethod
    async def bounds(self, topics: Mapping[str, str | None]) -> dict[TopicPartition, Bounds]:
        """Those of every partition of `topics` (name -> the group that sees it, None for nobody).

        Raises LogUnavailable: never a guess.
        """

    @abstractmethod
    async def ends(self, topics: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """The ends of each topic's partitions, in their order, for a fraction of `bounds`' cost.

        Raises LogUnavailable.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of every connection. Subscriptions are closed by whoever opened them."""
