"""A read handle on Kafka that heals by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from aiokafka import TopicPartition as Partition
from aiokafka.errors import KafkaError

from common.errors import LogUnavailable
from common.job_log.base import Delivery, Start, Subscription, TopicPartition
from common.job_log.kafka.broker import Broker, translated
from common.job_log.kafka.cluster import Cluster
from common.job_log.kafka.driver import unbroken
from common.job_log.kafka.inbox import Inbox
from common.job_log.kafka.reader import SESSION_MS, Reader
from common.job_log.kafka.roles import Everyone, Member, Role
from common.job_log.kafka.watchdog import Watchdog

log = structlog.get_logger()

_POLL_S = 0.2
_REOPEN_S = 0.5
_LOOKS = 15  # of the watchdog, in the time that its patience lasts


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a subscription reads, and how."""

    topics: Mapping[str, int]  # name -> weight
    group: str | None
    start: Start
    capacity: int  # messages


class KafkaSubscription(Subscription):
    """One reader at a time, replaced whenever it or its cluster is not what it was.

    Two tasks serve a reader: one moves messages into the inbox, one watches.
    """

    def __init__(self, cluster: Cluster, broker: Broker, wanted: Wanted, patience: float) -> None:
        self._cluster = cluster
        self._broker = broker
        self._wanted = wanted
        self._patience = patience
        self._wire = [cluster.wire(topic) for topic in wanted.topics]
        self._inbox = Inbox(wanted.topics, wanted.capacity, shared=wanted.group is not None)
        self._member: Member | None = None
        if wanted.group is not None:
            self._member = Member(broker, cluster, self._inbox, wanted.start, wanted.group)
        self._role: Role = self._member or Everyone(broker, cluster, self._inbox, wanted.start)
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._received = 0
        self._trouble: BaseException | None = None
        self._cluster_id: str | None = None
        self._reader: Reader | None = None
        self._serving: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Connect and begin to read. Raises LogUnavailable."""
        with translated("subscribe"):
            self._reader = await self._opened()
        self._serving = asyncio.create_task(self._serve_for_ever())

    async def receive(self, limit: int, timeout: float) -> list[Delivery]:
        deadline = time.monotonic() + timeout
        while not self._closed:
            self._arrived.clear()
            taken = self._inbox.take(limit)
            if taken:
                self._room.set()
                return taken
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._arrived.wait()
            except TimeoutError:
                if self._trouble is not None:
                    raise LogUnavailable(f"Kafka: receive: {self._trouble!r}") from self._trouble
                break
        return []

    async def acknowledge(self, *deliveries: Delivery) -> None:
        if self._member is None:
            return
        self._member.dirty |= self._inbox.finish(deliveries)
        self._room.set()
        with translated("acknowledge"):
            await self._member.commit({_partition(delivery) for delivery in deliveries})

    async def release(self, *deliveries: Delivery) -> None:
        self._inbox.release(deliveries)
        self._arrived.set()
        self._room.set()

    async def holds(self, delivery: Delivery) -> bool:
        if self._member is None or self._reader is None or not self._inbox.holds(delivery):
            return False
        with translated("ask for membership"):
            member = await self._reader.is_member()
        return member and self._inbox.holds(delivery)

    async def close(self) -> None:
        await unbroken(self._close())

    async def _close(self) -> None:
        self._closed = True
        self._arrived.set()
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        await self._let_go()  # if that was cancelled before its first step
        self._role.end()

    async def _opened(self) -> Reader:
        await self._broker.ensure(self._wire)
        self._cluster_id = self._broker.cluster_id
        reader = Reader(self._cluster, self._wanted.group)
        try:
            await reader.start()
            await self._role.join(reader, self._wanted.topics)
        except BaseException:
            await reader.stop()
            raise
        return reader

    async def _serve_for_ever(self) -> None:
        while True:
            try:
                if self._reader is None:
                    self._reader = await self._opened()
                reason = await self._serve(self._reader)
                log.warning("subscription is rebuilt", reason=reason, group=self._wanted.group)
            except Exception as error:  # noqa: BLE001 - the loop's edge
                log.warning("subscription failed", reason=repr(error), group=self._wanted.group)
                self._trouble = error
            finally:
                await self._let_go()
            await asyncio.sleep(_REOPEN_S)

    async def _let_go(self) -> None:
        reader, self._reader = self._reader, None
        self._role.leave()
        if reader is not None:
            await reader.stop()
        self._role.leave()

    async def _serve(self, reader: Reader) -> str:
        """Serve until the reader is of no use; returns why."""
        pump = asyncio.create_task(self._pump(reader))
        watch = asyncio.create_task(self._watch())
        try:
            await asyncio.wait([pump, watch], return_when=asyncio.FIRST_COMPLETED)
            return watch.result() if watch.done() else pump.result()
        finally:
            pump.cancel()
            watch.cancel()
            await asyncio.gather(pump, watch, return_exceptions=True)

    async def _pump(self, reader: Reader) -> str:
        while True:
            self._room.clear()
            readable = self._inbox.readable()
            moved = False
            for partitions, room in readable.items():
                moved |= self._take_in(await reader.poll(partitions, room))
            if moved:
                continue
            every = [partition for partitions in readable for partition in partitions]
            if len({partition.topic for partition in every}) == len(self._wanted.topics):
                self._take_in(await reader.poll(every, min(readable.values()), _POLL_S))
            else:
                await self._poll_until_room(reader, every, min(readable.values(), default=1))

    async def _poll_until_room(
        self, reader: Reader, partitions: list[TopicPartition], limit: int
    ) -> None:
        """Wait for messages of these; a topic that is full may get room before they come."""
        poll = asyncio.create_task(reader.poll(partitions, limit, _POLL_S))
        room = asyncio.create_task(self._room.wait())
        try:
            await asyncio.wait([poll, room], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # The driver hands over what it has without awaiting anything, so none is lost.
            poll.cancel()
            room.cancel()
            await asyncio.gather(poll, room, return_exceptions=True)
        if not poll.cancelled():
            self._take_in(poll.result())

    def _take_in(self, messages: list[Delivery]) -> bool:
        moved = self._inbox.add(messages)
        if self._member is not None:
            self._member.dirty |= moved
        if messages:
            self._received += len(messages)
            self._arrived.set()
        return bool(messages)

    async def _watch(self) -> str:
        """Look until something is wrong that only a new reader mends; returns what."""
        watchdog = Watchdog(self._patience, time.monotonic())
        pause = self._patience / _LOOKS
        while True:
            before = time.monotonic()
            await asyncio.sleep(pause)
            # The pause is not added: a process may have stood still from its beginning.
            if self._member and time.monotonic() > before + SESSION_MS / 1000:
                # A new reader comes last, and so takes nothing back from those who took over.
                return "this process stood still for longer than the group waits"
            try:
                reason = await self._look(watchdog)
            except (KafkaError, OSError, TimeoutError) as error:
                # Nothing is known while the broker does not answer, so nothing is held against it.
                watchdog = Watchdog(self._patience, time.monotonic())
                self._trouble = error
                continue
            if reason is not None:
                return reason
            self._trouble = None

    async def _look(self, watchdog: Watchdog) -> str | None:
        missing = await self._broker.missing(self._wire)
        if self._broker.cluster_id != self._cluster_id:
            self._role.forget(self._wanted.topics.keys())
            return "the cluster is another one"
        if missing:
            self._role.forget({self._cluster.plain(topic) for topic in missing})
            return f"topics are gone: {', '.join(sorted(missing))}"
        settled = self._role.settled.is_set()
        if settled and self._member is not None:
            await self._member.commit(frozenset(self._member.dirty))
        return watchdog.verdict(
            time.monotonic(),
            settled=settled,
            behind=await self._behind(),
            received=self._received,
        )

    async def _behind(self) -> bool:
        """Whether there are messages that the inbox would take and has not got."""
        wanted = {
            Partition(self._cluster.wire(partition.topic), partition.partition): offsets
            for partition, offsets in self._inbox.wanting().items()
        }
        ends = await self._broker.ends(wanted) if wanted else {}
        return any(ends[partition] > offsets.position for partition, offsets in wanted.items())


def _partition(delivery: Delivery) -> TopicPartition:
    return TopicPartition(delivery.position.topic, delivery.position.partition)
