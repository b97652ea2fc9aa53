"""The traps of a real Kafka: rebalances, restarts, wipes, and jobs longer than its time-outs."""

from __future__ import annotations

import asyncio
import gc
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import AIOKafkaConnection

from common.errors import LogUnavailable
from common.job_log import Delivery, JobLog, Start, Subscription
from common.job_log.kafka.log import KafkaJobLog
from common.job_log.kafka.reader import SESSION_MS
from infra.kafka import Kafka
from tests.brokers import own_kafka

pytestmark = pytest.mark.anyio

JOBS = "jobs.m.normal"
PATIENCE_S = 5.0  # of the watchdog, so that a test need not wait for 30 s
DEADLINE_S = 90.0


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker of our own, to be wiped and restarted."""
    with own_kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture
async def log(kafka: Kafka) -> AsyncIterator[KafkaJobLog]:
    async with opened(kafka) as log:
        yield log


@asynccontextmanager
async def opened(kafka: Kafka, prefix: str | None = None) -> AsyncIterator[KafkaJobLog]:
    kafka.start()
    url = f"kafka://{kafka.address}?prefix={prefix or secrets.token_hex(4)}."
    log = await KafkaJobLog.open(url, patience=PATIENCE_S)
    try:
        yield log
    finally:
        await log.close()


async def append(log: JobLog, *keys: str, topic: str = JOBS) -> None:
    """Append until it is done, as the sweeper would."""
    for key in keys:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    await log.append(topic, key, key.encode(), {})
                except LogUnavailable:
                    continue
                break


async def receive(subscription: Subscription, limit: int = 100) -> list[Delivery]:
    try:
        return await subscription.receive(limit, timeout=0.5)
    except LogUnavailable:
        return []


async def collect(subscription: Subscription, *keys: str) -> list[Delivery]:
    """Receive until each of the keys has come at least once."""
    found: dict[str, Delivery] = {}
    async with asyncio.timeout(DEADLINE_S):
        while not found.keys() >= set(keys):
            found.update((delivery.key, delivery) for delivery in await receive(subscription))
    return [found[key] for key in keys]


async def lag(log: JobLog, group: str = "g") -> int:
    return sum(bounds.lag for bounds in (await log.bounds({JOBS: group})).values())


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask until the answer is yes."""
    async with asyncio.timeout(DEADLINE_S):
        while not await holds():  # noqa: ASYNC110 - a broker in another process sets no event
            await asyncio.sleep(0.1)


def numbered(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last)]


async def members(kafka: Kafka, group: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.address)
    await admin.start()
    try:
        [response] = await admin.describe_consumer_groups([group])
        return {member[0] for member in response.groups[0][5]}
    finally:
        await admin.close()


async def test_a_job_longer_than_the_session_keeps_its_reader_and_comes_once(kafka: Kafka) -> None:
    async with opened(kafka, "long") as log:
        subscription = await log.subscribe({JOBS: 1}, group="g", capacity=1)
        await append(log, "long", "next")
        [held] = await collect(subscription, "long")
        before = await members(kafka, "long.g")

        waited_until = time.monotonic() + SESSION_MS / 1000 + PATIENCE_S
        while time.monotonic() < waited_until:
            assert await subscription.receive(1, timeout=1) == []

        assert await members(kafka, "long.g") == before
        await subscription.acknowledge(held)
        [following] = await collect(subscription, "next")
        await subscription.acknowledge(following)
        assert await lag(log) == 0
        await subscription.close()


class Worker:
    """Receives, works a little, acknowledges; a stop finishes what is in hand first."""

    def __init__(self, subscription: Subscription, finished: Counter[str]) -> None:
        self._subscription = subscription
        self._finished = finished
        self._stopping = False
        self._task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while not self._stopping:
            for delivery in await self._subscription.receive(4, timeout=0.2):
                await asyncio.sleep(0.01)
                self._finished[delivery.key] += 1
                await self._subscription.acknowledge(delivery)

    async def stop(self) -> None:
        self._stopping = True
        await self._task
        await self._subscription.close()


@pytest.mark.timeout(600)
async def test_twenty_joins_and_leaves_under_load_run_every_message_once(kafka: Kafka) -> None:
    finished: Counter[str] = Counter()
    async with opened(kafka, "load") as log, opened(kafka, "load") as second:
        staying = Worker(await log.subscribe({JOBS: 1}, group="g", capacity=8), finished)
        appended = 0
        for _ in range(10):
            joining = Worker(await second.subscribe({JOBS: 1}, group="g", capacity=8), finished)
            for _ in range(2):
                await append(log, *numbered(appended, appended + 40))
                appended += 40
                await asyncio.sleep(0.5)
            await joining.stop()
        await eventually(lambda: _no_lag(log))
        await staying.stop()

    assert finished == Counter(numbered(0, appended))


async def _no_lag(log: JobLog) -> bool:
    return await lag(log) == 0


async def test_the_next_owner_skips_what_was_finished_above_the_low_water(
    log: KafkaJobLog,
) -> None:
    subscription = await log.subscribe({JOBS: 1}, group="g")
    await append(log, *numbered(0, 200))
    held = await collect(subscription, *numbered(0, 200))
    unfinished = held[::9]

    await asyncio.gather(
        *(subscription.acknowledge(delivery) for delivery in held if delivery not in unfinished)
    )
    await subscription.close()
    another = await log.subscribe({JOBS: 1}, group="g")
    keys = {delivery.key for delivery in unfinished}
    found = await collect(another, *sorted(keys))

    assert await receive(another) == []
    assert len(found) == len(keys)
    await another.acknowledge(*found)
    assert await lag(log) == 0
    await another.close()


async def test_five_processes_may_name_a_new_topic_at_once(kafka: Kafka) -> None:
    logs = [opened(kafka, "race") for _ in range(5)]
    each = [await log.__aenter__() for log in logs]

    positions = await asyncio.gather(
        *(log.append(JOBS, str(number), b"", {}) for number, log in enumerate(each))
    )

    assert len(set(positions)) == 5
    assert len(await each[0].bounds({JOBS: None})) == 4
    for log in logs:
        await log.__aexit__(None, None, None)


async def test_a_restart_of_the_broker_loses_nothing_and_what_is_in_hand_can_be_finished(
    kafka: Kafka, log: KafkaJobLog
) -> None:
    subscription = await log.subscribe({JOBS: 1}, group="g")
    await append(log, "held")
    [held] = await collect(subscription, "held")

    await asyncio.to_thread(kafka.restart)
    await append(log, *numbered(0, 20))
    found = await collect(subscription, *numbered(0, 20))
    await eventually(lambda: _acknowledged(subscription, held, *found))

    await eventually(lambda: _no_lag(log))
    await subscription.close()


async def _acknowledged(subscription: Subscription, *deliveries: Delivery) -> bool:
    try:
        await subscription.acknowledge(*deliveries)
    except LogUnavailable:
        return False
    return True


async def test_a_wipe_under_load_is_survived_by_producer_group_and_broadcast(
    kafka: Kafka, log: KafkaJobLog
) -> None:
    group = await log.subscribe({JOBS: 1}, group="g")
    every = await log.subscribe({"updates": 1}, group=None, start=Start.LATEST)
    for topic, subscription in ((JOBS, group), ("updates", every)):
        await append(log, *numbered(0, 30), topic=topic)
        await collect(subscription, *numbered(0, 30))
    appending = asyncio.create_task(append(log, *numbered(30, 200)))

    await asyncio.to_thread(kafka.wipe)
    await appending
    after = numbered(1000, 1050)
    await append(log, *after)
    await append(log, *after, topic="updates")

    found = await collect(group, *after)
    await collect(every, *after)
    assert await _acknowledged(group, *found)
    await group.close()
    await every.close()


async def test_what_was_in_hand_before_a_wipe_finishes_nothing_after_it(
    kafka: Kafka, log: KafkaJobLog
) -> None:
    subscription = await log.subscribe({JOBS: 1}, group="g")
    await append(log, *numbered(0, 10))
    old = await collect(subscription, *numbered(0, 10))

    await asyncio.to_thread(kafka.wipe)
    await append(log, *numbered(100, 110))
    new = await collect(subscription, *numbered(100, 110))
    await subscription.acknowledge(*old)

    assert await lag(log) == 10
    await subscription.acknowledge(*new)
    assert await lag(log) == 0
    await subscription.close()


async def test_after_a_wipe_the_lag_counts_what_is_there_now(
    kafka: Kafka, log: KafkaJobLog
) -> None:
    subscription = await log.subscribe({JOBS: 1}, group="g")
    await append(log, *numbered(0, 10))
    await subscription.acknowledge(*await collect(subscription, *numbered(0, 10)))
    await subscription.close()

    await asyncio.to_thread(kafka.wipe)

    bounds = await log.bounds({JOBS: "g"})
    assert len(bounds) == 4
    assert {(one.start, one.committed, one.end) for one in bounds.values()} == {(0, 0, 0)}
    await append(log, *numbered(0, 3))
    after = (await log.bounds({JOBS: "g"})).values()
    assert await lag(log) == sum(one.end for one in after) >= 3


async def test_a_topic_that_was_deleted_is_made_again_and_read(
    kafka: Kafka, log: KafkaJobLog
) -> None:
    subscription = await log.subscribe({JOBS: 1}, group="g")
    await append(log, "before")
    await collect(subscription, "before")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.address)
    await admin.start()
    topics = await admin.list_topics()
    await admin.delete_topics([topic for topic in topics if topic.endswith(JOBS)])
    await admin.close()

    await append(log, "after")

    await collect(subscription, "after")
    await subscription.close()


@pytest.mark.timeout(600)
async def test_while_the_broker_is_away_everything_says_so_and_ends(
    kafka: Kafka, log: KafkaJobLog
) -> None:
    subscription = await log.subscribe({JOBS: 1}, group="g")
    await append(log, "held")
    [held] = await collect(subscription, "held")

    await asyncio.to_thread(kafka.kill)

    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(LogUnavailable):
            await log.bounds({JOBS: "g"})
        with pytest.raises(LogUnavailable):
            await log.append(JOBS, "lost", b"", {})
        with pytest.raises(LogUnavailable):
            await subscription.acknowledge(held)
        with pytest.raises(LogUnavailable):
            await subscription.receive(1, timeout=5)
        with pytest.raises(LogUnavailable):
            await log.subscribe({JOBS: 1}, group="g")
        await subscription.close()


async def test_closing_under_load_ends_and_leaves_the_work_to_others(kafka: Kafka) -> None:
    async with opened(kafka, "stop") as log, opened(kafka, "stop") as second:
        leaving = await log.subscribe({JOBS: 1}, group="g", capacity=50)
        appending = asyncio.create_task(append(second, *numbered(0, 300)))
        await collect(leaving, "0")
        staying = await second.subscribe({JOBS: 1}, group="g")

        async with asyncio.timeout(DEADLINE_S):
            await leaving.close()
        await appending

        await collect(staying, *numbered(0, 300))
        await staying.close()


def connected() -> set[AIOKafkaConnection]:
    # isinstance() would ask each object for its class, and some of torch's complain of that.
    every = [one for one in gc.get_objects() if type(one) is AIOKafkaConnection]
    return {one for one in every if one.connected()}


async def cut_short(work: Coroutine[Any, Any, None], milliseconds: float) -> None:
    task = asyncio.create_task(work)
    await asyncio.wait([task], timeout=milliseconds / 1000)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_whoever_is_cancelled_while_connecting_leaves_no_connection_behind(
    kafka: Kafka,
) -> None:
    async def connect() -> None:
        async with opened(kafka) as log:
            subscription = await log.subscribe({JOBS: 1}, group=None)
            await subscription.close()

    before = connected()
    for milliseconds in range(0, 60, 2):
        await cut_short(connect(), milliseconds)

    assert not connected() - before


async def test_whoever_is_cancelled_while_closing_leaves_no_connection_behind(
    kafka: Kafka,
) -> None:
    before = connected()
    for milliseconds in range(10):
        async with opened(kafka) as log:
            subscription = await log.subscribe({JOBS: 1}, group="g")
            await append(log, "one")
            await cut_short(subscription.close(), milliseconds)
            await cut_short(log.close(), milliseconds)
            assert not connected() - before


async def test_a_subscription_closed_at_once_leaves_no_connection_behind(kafka: Kafka) -> None:
    async with opened(kafka) as log:
        before = connected()
        subscription = await log.subscribe({JOBS: 1}, group="g")
        await subscription.close()
        assert not connected() - before
