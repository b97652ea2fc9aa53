"""The job log over Kafka: one idempotent producer, a reader per subscription."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import TopicPartition as Partition

from common.job_log.base import (
    Bounds,
    JobLog,
    Position,
    Start,
    Subscription,
    TopicPartition,
    bounds_of,
)
from common.job_log.kafka.broker import Broker, TopicPlan, translated
from common.job_log.kafka.cluster import Cluster, cluster_of
from common.job_log.kafka.driver import unbroken
from common.job_log.kafka.producer import Producer
from common.job_log.kafka.subscription import KafkaSubscription, Wanted
from common.job_log.kafka.watchdog import PATIENCE_S
from common.topic import is_shared_work, retention_seconds

# Of an outage it logs an error for every request and retry. What matters of it is logged here.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

_GROUPS_AT_ONCE = 32  # asked what they committed


class KafkaJobLog(JobLog):
    """Topics are named without the URL's prefix; on the wire they, and groups, have it."""

    def __init__(self, cluster: Cluster, partitions: int, patience: float) -> None:
        self._cluster = cluster
        self._partitions = partitions
        self._patience = patience
        self._broker = Broker(cluster, self._plan)
        self._producer = Producer(cluster, self._broker)

    @classmethod
    async def open(
        cls, url: str, *, partitions: int = 4, patience: float = PATIENCE_S
    ) -> KafkaJobLog:
        """The log at `kafka://HOST:PORT[,HOST:PORT][?…]`, as cluster.py reads it.

        Topics of shared work are made with `partitions`. A subscription that is stuck for
        `patience` seconds is rebuilt. Raises LogUnavailable, SettingsInvalid.
        """
        cluster = cluster_of(url)
        opened = cls(cluster, partitions, patience)
        try:
            where = f"{','.join(cluster.servers)} by {cluster.security_protocol}"
            with translated(f"connecting to {where}, as DARKROOM_JOB_LOG_URL says"):
                await opened._broker.connect()
            await opened._producer.start()
        except BaseException:
            await opened.close()
            raise
        return opened

    async def append(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, str]
    ) -> Position:
        encoded = [(name, text.encode()) for name, text in headers.items()]
        wire = self._cluster.wire(topic)
        partition, offset = await self._producer.send(wire, key.encode(), value, encoded)
        return Position(topic, partition, offset)

    async def subscribe(
        self,
        topics: Mapping[str, int],
        *,
        group: str | None,
        start: Start = Start.EARLIEST,
        capacity: int = 1000,
    ) -> Subscription:
        wanted = Wanted(dict(topics), group, start, capacity)
        subscription = KafkaSubscription(self._cluster, self._broker, wanted, self._patience)
        await subscription.open()
        return subscription

    async def bounds(self, topics: Mapping[str, str | None]) -> dict[TopicPartition, Bounds]:
        groups = {self._cluster.wire(topic): group for topic, group in topics.items()}
        with translated("reading the bounds"):
            await self._broker.ensure(groups)
            partitions = self._broker.partitions(groups)
            # Before the ends: read after them it could be past them without any wipe.
            committed = await self._committed(groups, partitions)
            starts = await self._broker.starts(partitions)
            ends = await self._broker.ends(partitions)
        return {
            TopicPartition(self._cluster.plain(one.topic), one.partition): bounds_of(
                starts[one], committed.get(one), ends[one]
            )
            for one in partitions
        }

    async def _committed(
        self, groups: Mapping[str, str | None], partitions: Iterable[Partition]
    ) -> dict[Partition, int]:
        """What each topic's group committed, where it committed anything."""
        seen: dict[str, list[Partition]] = defaultdict(list)
        for partition in partitions:
            if (group := groups[partition.topic]) is not None:
                seen[self._cluster.wire(group)].append(partition)
        few = asyncio.Semaphore(_GROUPS_AT_ONCE)

        async def ask(group: str) -> dict[Partition, tuple[int, str]]:
            async with few:
                return await self._broker.committed(group, seen[group])

        asking = [asyncio.create_task(ask(group)) for group in seen]
        try:
            found = await asyncio.gather(*asking)
        finally:
            for task in asking:  # one that fails ends none of the others
                task.cancel()
        return {partition: offset for each in found for partition, (offset, _) in each.items()}

    async def ends(self, topics: Sequence[str]) -> dict[str, tuple[int, ...]]:
        wire = [self._cluster.wire(topic) for topic in topics]
        with translated("reading the ends"):
            await self._broker.ensure(wire)
            ends = await self._broker.all_ends(wire)
        return {topic: ends[name] for topic, name in zip(topics, wire, strict=True)}

    async def close(self) -> None:
        await unbroken(self._close())

    async def _close(self) -> None:
        await self._producer.close()
        await self._broker.close()

    def _plan(self, wire: str) -> TopicPlan:
        topic = self._cluster.plain(wire)
        partitions = self._partitions if is_shared_work(topic) else 1
        return TopicPlan(partitions, retention_seconds(topic))
