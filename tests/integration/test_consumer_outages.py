"""A consumer whose log or store goes away, and the order in which it speaks.

The log and the store are real; what stands between only notes the calls, or refuses them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from common.errors import LogUnavailable, StoreUnavailable
from common.events import JobReleased, JobStarted, JobSucceeded
from common.job_log import (
    Bounds,
    Delivery,
    JobLog,
    Position,
    Start,
    Subscription,
    TopicPartition,
    open_job_log,
)
from common.object_store import open_object_store
from common.object_store.folder import FolderObjectStore
from common.topic import EVENTS
from common.wire import decode_event
from tests.integration.test_consumer import ECHO, Bench, ended
from tests.passing_log import PassingLog

pytestmark = pytest.mark.anyio


class NotedLog(PassingLog):
    """Notes what is finished, in order; `away` refuses everything."""

    def __init__(self, log: JobLog) -> None:
        super().__init__(log)
        self.notes: list[str] = []
        self.away = False

    def check(self) -> None:
        if self.away:
            raise LogUnavailable("away")

    async def append(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, str]
    ) -> Position:
        self.check()
        position = await super().append(topic, key, value, headers)
        if topic == EVENTS:
            await asyncio.sleep(0.05)  # so that what does not wait for it comes first
            self.notes.append(type(decode_event(value, headers)).__name__)
        return position

    async def subscribe(
        self,
        topics: Mapping[str, int],
        *,
        group: str | None,
        start: Start = Start.EARLIEST,
        capacity: int = 1000,
    ) -> Subscription:
        self.check()
        subscription = await super().subscribe(topics, group=group, start=start, capacity=capacity)
        return NotedSubscription(self, subscription, bool(group))

    async def bounds(self, topics: Mapping[str, str | None]) -> dict[TopicPartition, Bounds]:
        self.check()
        return await super().bounds(topics)


class NotedSubscription(Subscription):
    def __init__(self, log: NotedLog, subscription: Subscription, noted: bool) -> None:
        self._log, self._subscription, self._noted = log, subscription, noted

    async def receive(self, limit: int, timeout: float) -> list[Delivery]:
        self._log.check()
        return await self._subscription.receive(limit, timeout)

    async def acknowledge(self, *deliveries: Delivery) -> None:
        self._log.check()
        await self._subscription.acknowledge(*deliveries)
        if self._noted:
            self._log.notes.append("acknowledged")

    async def release(self, *deliveries: Delivery) -> None:
        await self._subscription.release(*deliveries)

    async def holds(self, delivery: Delivery) -> bool:
        return await self._subscription.holds(delivery)

    async def close(self) -> None:
        await self._subscription.close()


class AwayStore(FolderObjectStore):
    """Refuses so many calls."""

    refusals = 0

    async def get(self, key: str) -> bytes:
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("away")
        return await super().get(key)


async def bench_on(folder: Path) -> tuple[Bench, NotedLog]:
    log = NotedLog(await open_job_log(f"sqlite:///{folder}/log.sqlite"))
    store = await open_object_store(f"file://{folder}/objects")
    return Bench(ECHO, log, store), log


async def test_it_tells_before_it_runs_and_acknowledges_after_it_told(tmp_path: Path) -> None:
    bench, log = await bench_on(tmp_path)
    id = await bench.submit(prompt="x")
    bench.start()
    await bench.events(id, ended)
    await bench.end()
    await log.close()
    assert log.notes == ["JobStarted", "JobSucceeded", "acknowledged"]


async def test_it_stops_while_the_log_is_away(tmp_path: Path) -> None:
    bench, log = await bench_on(tmp_path)
    id = await bench.submit(prompt="x")
    bench.start(grace_seconds=1)
    await bench.events(id, ended)
    log.away = True
    await asyncio.sleep(1)  # long enough for a receive that fails
    await asyncio.wait_for(bench.end(), 30)
    await log.close()


async def test_a_log_that_is_away_at_the_start_is_waited_for(tmp_path: Path) -> None:
    bench, log = await bench_on(tmp_path)
    id = await bench.submit(prompt="x")
    log.away = True
    bench.start()
    await asyncio.sleep(2)
    assert bench.running is not None
    assert not bench.running.done()
    log.away = False
    *_, last = await bench.events(id, ended)
    assert isinstance(last, JobSucceeded)
    await bench.end()
    await log.close()


async def test_a_store_that_is_away_burns_no_attempt(tmp_path: Path) -> None:
    bench, log = await bench_on(tmp_path)
    store = await AwayStore.open(f"file://{tmp_path}/objects")
    assert isinstance(store, AwayStore)
    store.refusals = 3
    bench.store = store
    id = await bench.submit(b"\xff\xd8 no matter", prompt="x")
    bench.start()
    told = await bench.events(id, lambda event: ended(event) or isinstance(event, JobReleased))
    assert [type(event).__name__ for event in told[:1]] == ["JobStarted"]
    assert sum(isinstance(event, JobStarted) for event in told) == 1
    assert store.refusals == 0
    await bench.end()
    await log.close()
