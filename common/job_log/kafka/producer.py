"""Appending to Kafka: idempotent, and able to outlive the cluster it began with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerClosed,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from common.job_log.kafka.broker import Broker, translated
from common.job_log.kafka.cluster import Cluster
from common.job_log.kafka.driver import ended, unbroken

log = structlog.get_logger()

SEND_S = 10.0  # after that an append fails, and what was queued with it is not sent any more
_LOOK_S = 1.0  # how often a send that takes long looks whether the cluster is still the same
_RETRY_S = 0.1
_STOP_S = 5.0
_REQUEST_MS = 5000
_BATCH_BYTES = 512 * 1024  # a full batch makes all others wait in a herd; the broker takes 1 MiB
_HOPELESS = (
    InvalidTopicError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

Headers = Sequence[tuple[str, bytes]]


class _Message(NamedTuple):
    topic: str
    key: bytes
    value: bytes
    headers: Headers


class Producer:
    """One idempotent producer, made anew whenever the cluster no longer knows it.

    A producer's sequence numbers are worth nothing to a wiped cluster, which moreover hands out
    the same producer ids again.
    """

    def __init__(self, cluster: Cluster, broker: Broker) -> None:
        self._cluster = cluster
        self._broker = broker
        self._current: AIOKafkaProducer | None = None
        self._cluster_id: str | None = None
        self._looked_at = 0.0
        self._preparing: dict[str, asyncio.Task[None]] = {}
        self._starting = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Connect. Raises LogUnavailable."""
        with translated("starting the producer"):
            async with asyncio.timeout(SEND_S):
                await self._ready()

    async def send(self, topic: str, key: bytes, value: bytes, headers: Headers) -> tuple[int, int]:
        """The partition and offset under which the message is stored. Raises LogUnavailable."""
        deadline = time.monotonic() + SEND_S
        with translated(f"append to {topic}"):
            while True:
                try:
                    async with asyncio.timeout(deadline - time.monotonic()):
                        producer = await self._ready()
                        await self._prepared(producer, topic)
                    return await self._deliver(
                        _Message(topic, key, value, headers), producer, deadline
                    )
                except _HOPELESS:
                    raise
                except KafkaError as error:
                    if self._closed or time.monotonic() > deadline:
                        raise
                    log.debug("append is tried again", topic=topic, reason=repr(error))
                await asyncio.sleep(_RETRY_S)

    async def close(self) -> None:
        """Send what is queued, within seconds, and let go."""
        self._closed = True
        if self._current is not None:
            current, self._current = self._current, None
            await ended(current.flush(), seconds=_STOP_S)
            await _abandon(current)
        preparing = self._preparing.values()
        for task in preparing:
            task.cancel()
        await asyncio.gather(*self._leaving, *preparing, return_exceptions=True)

    async def _ready(self) -> AIOKafkaProducer:
        if self._current is not None:
            return self._current
        async with self._starting:
            if self._closed:
                raise ProducerClosed("the log is closed")
            if self._current is None:
                await self._broker.missing(())
                producer = AIOKafkaProducer(
                    **self._cluster.options(),
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=0,
                    max_batch_size=_BATCH_BYTES,
                    request_timeout_ms=_REQUEST_MS,
                )
                try:
                    await unbroken(producer.start())
                except BaseException:
                    await _abandon(producer)
                    raise
                self._current, self._cluster_id = producer, self._broker.cluster_id
            return self._current

    async def _prepared(self, producer: AIOKafkaProducer, topic: str) -> None:
        """Return once the topic exists and the producer knows it.

        Many may append to a new topic at once: they wait for one task, so they keep their order.
        """
        task = self._preparing.get(topic)
        if task is None or (task.done() and task.exception() is not None):
            task = self._preparing[topic] = asyncio.create_task(self._prepare(producer, topic))
            task.add_done_callback(_error_seen)
        if not task.done():
            await asyncio.wait([task])
        task.result()

    async def _prepare(self, producer: AIOKafkaProducer, topic: str) -> None:
        await self._broker.ensure([topic])
        await producer.partitions_for(topic)

    async def _deliver(
        self, message: _Message, producer: AIOKafkaProducer, deadline: float
    ) -> tuple[int, int]:
        """Queue the message and wait until it is stored; what fails takes the producer with it."""
        queued: asyncio.Future[Any] | None = None
        try:
            while queued is None or not queued.done():
                if time.monotonic() > deadline:
                    raise KafkaTimeoutError(f"not stored within {SEND_S:.0f} s")
                if queued is None:
                    queued = await _queue(producer, message)
                else:
                    await asyncio.wait([queued], timeout=_LOOK_S)
                if queued is None or not queued.done():
                    await self._look(producer, message.topic)
            stored = queued.result()
        except _HOPELESS:
            raise
        except KafkaError as error:
            self._drop(producer, error)
            await asyncio.gather(*self._leaving)
            # It may have got through at the last moment, and should not be sent twice then.
            if queued is None or not queued.done() or queued.exception() is not None:
                raise
            stored = queued.result()
        return stored.partition, stored.offset

    async def _look(self, producer: AIOKafkaProducer, topic: str) -> None:
        """Raises ProducerClosed if the cluster was wiped; nothing if it does not answer.

        Of all the sends that wait at a time only one asks.
        """
        if self._current is not producer:
            raise ProducerClosed("given up")
        if time.monotonic() < self._looked_at + _LOOK_S:
            return
        self._looked_at = time.monotonic()
        try:
            missing = await self._broker.missing([topic])
        except (KafkaError, TimeoutError):
            return
        if missing or self._broker.cluster_id != self._cluster_id:
            raise ProducerClosed("the cluster's data were wiped")

    def _drop(self, producer: AIOKafkaProducer, reason: Exception) -> None:
        """What is queued in `producer` is given up, so that it cannot arrive after all."""
        if self._current is not producer:
            return
        log.warning("the producer is made anew", reason=repr(reason))
        self._current = None
        self._preparing = {}
        task = asyncio.create_task(_abandon(producer))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


async def _queue(producer: AIOKafkaProducer, message: _Message) -> asyncio.Future[Any] | None:
    """What will tell where the message is stored; None if it could not be queued for a while.

    The driver waits in here for a topic that the cluster has lost, and for room in a batch.
    """
    try:
        async with asyncio.timeout(_LOOK_S):
            queued: asyncio.Future[Any] = await producer.send(
                message.topic, message.value, key=message.key, headers=message.headers
            )
    except TimeoutError:
        return None
    queued.add_done_callback(_error_seen)
    return queued


def _error_seen(future: asyncio.Future[Any]) -> None:
    """A sender who was cancelled leaves an error in it that nobody fetches."""
    if not future.cancelled():
        future.exception()


async def _abandon(producer: AIOKafkaProducer) -> None:
    """Stop without sending what is queued.

    stop() flushes first, and so hangs for as long as the broker is away (aio-libs/aiokafka#773);
    therefore its parts are ended one by one.
    """
    await ended(producer._sender.close(), seconds=_STOP_S)
    await ended(producer.client.close(), seconds=_STOP_S)
    producer._closed = True
