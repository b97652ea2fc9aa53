"""The two ways to read: sharing partitions in a group, or everyone reading everything."""

from __future__ import annotations

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections.abc import Collection
from contextlib import suppress

from aiokafka import TopicPartition as Partition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from common.job_log.base import Start, TopicPartition
from common.job_log.kafka.broker import Broker
from common.job_log.kafka.cluster import Cluster
from common.job_log.kafka.inbox import Inbox
from common.job_log.kafka.offsets import PartitionOffsets, owner_of, restore
from common.job_log.kafka.reader import Reader

DRAIN_S = 1.0  # what a rebalance waits for work in hand to be finished, so that it runs only once
COMMIT_S = 15.0
_LOOK_S = 0.01
_RETRY_S = 0.1


class Role(ABC):
    """Decides what the inbox owns, and makes durable what is finished. Raises KafkaError."""

    def __init__(self, broker: Broker, cluster: Cluster, inbox: Inbox, start: Start) -> None:
        self._broker = broker
        self._cluster = cluster
        self._inbox = inbox
        self._start = start
        self.settled = asyncio.Event()  # the inbox owns what it should

    @abstractmethod
    async def join(self, reader: Reader, topics: Collection[str]) -> None:
        """Start to read with a reader that has just connected."""

    def leave(self) -> None:
        """The reader is given up; what is in hand stays there."""
        self.settled.clear()
        self._inbox.pause()

    def end(self) -> None:
        """Nothing is ours any more; whoever waits to commit has nothing to commit."""
        self._inbox.pause()
        self._inbox.owned = {}
        self.settled.set()

    def forget(self, topics: Collection[str]) -> None:
        """These topics were made anew, so all that is in them has yet to be read."""
        self._start = Start.EARLIEST
        self._inbox.forget(topics)

    def _plain(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self._cluster.plain(partition.topic), partition.partition)


class Everyone(Role):
    """Reads all partitions, and remembers nothing beyond the process."""

    async def join(self, reader: Reader, topics: Collection[str]) -> None:
        names = [self._cluster.wire(topic) for topic in topics]
        await self._broker.ensure(names)
        partitions = self._broker.partitions(names)
        earliest = self._start is Start.EARLIEST
        first = await (self._broker.starts if earliest else self._broker.ends)(partitions)
        owned = {}
        for wire, offset in first.items():
            partition = self._plain(wire)
            owned[partition] = self._inbox.owned.get(partition) or PartitionOffsets(offset)
            owned[partition].rewind()
        self._inbox.own(owned)
        reader.assign({partition: offsets.low for partition, offsets in owned.items()})
        self.settled.set()


class Member(Role, ConsumerRebalanceListener):  # type: ignore[misc]  # the driver is untyped
    """Shares the partitions with the others of its group."""

    def __init__(
        self, broker: Broker, cluster: Cluster, inbox: Inbox, start: Start, group: str
    ) -> None:
        super().__init__(broker, cluster, inbox, start)
        self._group = cluster.wire(group)
        self._name = uuid.uuid4().hex
        self._reader: Reader | None = None
        self._known: dict[TopicPartition, PartitionOffsets] = {}
        self._committing = asyncio.Lock()
        self.dirty: set[TopicPartition] = set()  # with something finished that is not committed

    async def join(self, reader: Reader, topics: Collection[str]) -> None:
        self._reader = reader
        reader.join(topics, self)

    def forget(self, topics: Collection[str]) -> None:
        super().forget(topics)
        self._known = {one: kept for one, kept in self._known.items() if one.topic not in topics}

    async def commit(self, partitions: Collection[TopicPartition]) -> None:
        """Return when what is finished in these is durable, or they are no longer ours.

        Callers at one time share a round trip. Raises TimeoutError too.
        """
        async with asyncio.timeout(COMMIT_S), self._committing:
            while self.dirty.intersection(partitions):
                await self.settled.wait()
                await self._commit_dirty()

    async def _commit_dirty(self) -> None:
        assert self._reader is not None
        owned = self._inbox.owned
        due = self.dirty & owned.keys()
        self.dirty = set()
        if not due:
            return
        try:
            await self._reader.commit(
                {one: (owned[one].low, owned[one].metadata(self._name)) for one in due}
            )
        except (CommitFailedError, IllegalStateError):
            # A rebalance came between: once it is over, what is still ours is tried again.
            self.dirty |= due
            await asyncio.sleep(_RETRY_S)
        except BaseException:
            self.dirty |= due
            raise

    async def on_partitions_revoked(self, revoked: set[Partition]) -> None:
        self._inbox.pause()
        if revoked:
            with suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await self._drain()
        self.settled.clear()

    async def _drain(self) -> None:
        while self._inbox.held:  # noqa: ASYNC110 - the inbox is plain data
            await asyncio.sleep(_LOOK_S)
        await self.commit(frozenset(self.dirty))

    async def on_partitions_assigned(self, assigned: set[Partition]) -> None:
        assert self._reader is not None
        # In this order, so that a commit past the end can only be one from before a wipe.
        committed = await self._broker.committed(self._group, assigned)
        starts, ends = await asyncio.gather(
            self._broker.starts(assigned), self._broker.ends(assigned)
        )
        for wire in assigned:
            partition = self._plain(wire)
            begin = starts[wire] if self._start is Start.EARLIEST else ends[wire]
            offsets = self._adopted(partition, committed.get(wire))
            if offsets is None or offsets.horizon > ends[wire]:
                offsets = PartitionOffsets(starts[wire] if wire in committed else begin)
            self._known[partition] = offsets
            if committed.get(wire) != (offsets.low, offsets.metadata(self._name)):
                self.dirty.add(partition)
            self._reader.seek(partition, offsets.low)
        self._inbox.own({one: self._known[one] for one in map(self._plain, assigned)})
        self.settled.set()

    def _adopted(
        self, partition: TopicPartition, committed: tuple[int, str] | None
    ) -> PartitionOffsets | None:
        """The partition's offsets, where the group has any: ours if nobody else had it since."""
        if committed is None:
            return None
        known = self._known.get(partition)
        if known is None or owner_of(committed[1]) != self._name:
            return restore(*committed)
        known.rewind()
        return known
