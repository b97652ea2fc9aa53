"""One AIOKafkaConsumer, in our terms, from its start to an end that cannot hang."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka import TopicPartition as Partition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    IllegalGenerationError,
    NoError,
    RebalanceInProgressError,
    UnknownMemberIdError,
    for_code,
)
from aiokafka.protocol.group import HeartbeatRequest

from common.job_log.base import Delivery, Position, TopicPartition
from common.job_log.kafka.cluster import Cluster
from common.job_log.kafka.driver import ended, unbroken

SESSION_MS = 10_000
HEARTBEAT_MS = 3_000
_STOP_S = 10.0
_NEVER_MS = 2**31 - 1  # jobs may take hours, and polling goes on meanwhile
_FETCH_WAIT_MS = 100  # a partition that gets room again waits for a running fetch this long
_PARTITION_BYTES = 256 * 1024
_METADATA_MS = 30_000
_NOBODYS = Partition("", 0)
_EXPELLED = (UnknownMemberIdError, IllegalGenerationError)


class Reader:
    """Reads partitions either as a member of a group or as told. Raises KafkaError.

    It does not use pause(): the driver throws away what it has fetched of a paused partition.
    Records that nobody takes stay in the driver, which fetches no more of that partition.
    """

    def __init__(self, cluster: Cluster, group: str | None) -> None:
        self._cluster = cluster
        self._consumer = AIOKafkaConsumer(
            **cluster.options(),
            # Members are sorted by this: a new one comes last and takes little from the others.
            client_id=f"darkroom-{time.time_ns():020d}",
            group_id=None if group is None else cluster.wire(group),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            max_poll_interval_ms=_NEVER_MS,
            metadata_max_age_ms=_METADATA_MS,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            max_partition_fetch_bytes=_PARTITION_BYTES,
            # One reader then has the same partitions of every priority, so weights hold.
            partition_assignment_strategy=[RangePartitionAssignor],
        )

    async def start(self) -> None:
        """Connect."""
        await unbroken(self._consumer.start())

    def join(self, topics: Collection[str], listener: ConsumerRebalanceListener) -> None:
        """Become a member; `listener` hears what it gets."""
        self._consumer.subscribe([self._cluster.wire(topic) for topic in topics], listener=listener)

    def assign(self, starts: Mapping[TopicPartition, int]) -> None:
        """Read these partitions from these offsets."""
        self._consumer.assign([self._wire(partition) for partition in starts])
        for partition, offset in starts.items():
            self.seek(partition, offset)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from `offset`."""
        self._consumer.seek(self._wire(partition), offset)

    async def poll(
        self, partitions: Collection[TopicPartition], limit: int, timeout: float = 0
    ) -> list[Delivery]:
        """Up to `limit` messages of these partitions; waits for one up to `timeout` seconds.

        Without partitions it only raises what went wrong in the background. During a rebalance
        it waits for the end of that, whatever the timeout.
        """
        wanted = [self._wire(partition) for partition in partitions] or [_NOBODYS]
        batches = await self._consumer.getmany(
            *wanted, timeout_ms=int(timeout * 1000), max_records=limit
        )
        return [self._delivery(record) for batch in batches.values() for record in batch]

    async def commit(self, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None:
        """Commit offsets with their metadata."""
        await self._consumer.commit(
            {self._wire(partition): commit for partition, commit in offsets.items()}
        )

    async def is_member(self) -> bool:
        """Whether the group counts it in, by the broker: here that may be found out late.

        Raises TimeoutError too: an answer that comes after a session says nothing.
        """
        group = self._consumer._coordinator
        asks = HeartbeatRequest(group.group_id, group.generation, group.member_id)
        async with asyncio.timeout(SESSION_MS / 1000):
            error = for_code((await group._send_req(asks)).error_code)
        if error not in (NoError, RebalanceInProgressError, *_EXPELLED):
            raise error()
        return error not in _EXPELLED

    async def stop(self) -> None:
        """Leave the group and disconnect, within seconds."""
        await unbroken(self._stop())

    async def _stop(self) -> None:
        if await ended(self._consumer.stop(), seconds=_STOP_S):
            return
        for task in self._tasks():
            task.cancel()
        await asyncio.gather(*self._tasks(), return_exceptions=True)
        await ended(self._consumer._client.close(), seconds=_STOP_S)

    def _tasks(self) -> list[asyncio.Task[Any]]:
        coordinator, fetcher = self._consumer._coordinator, self._consumer._fetcher
        names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task")
        tasks = [getattr(coordinator, name, None) for name in (*names, "_reset_committed_task")]
        if fetcher is not None:
            tasks += [fetcher._fetch_task, *fetcher._pending_tasks]
        return [task for task in tasks if task is not None]

    def _wire(self, partition: TopicPartition) -> Partition:
        return Partition(self._cluster.wire(partition.topic), partition.partition)

    def _delivery(self, record: ConsumerRecord) -> Delivery:
        return Delivery(
            Position(self._cluster.plain(record.topic), record.partition, record.offset),
            (record.key or b"").decode(errors="replace"),
            record.value or b"",
            {name: value.decode(errors="replace") for name, value in record.headers},
        )
