"""How a reader receives: in time, within its limits, by weight."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from common.job_log import JobLog
from tests.contract.job_log.steps import PATIENCE, append, collect, drain, numbers

pytestmark = pytest.mark.anyio


async def test_receive_returns_nothing_after_its_timeout(log: JobLog) -> None:
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g")

    async with asyncio.timeout(PATIENCE):
        assert await subscription.receive(10, timeout=0.2) == []
    await subscription.close()


async def test_receive_hands_out_no_more_than_its_limit(log: JobLog) -> None:
    await append(log, "jobs.m.normal", 10, key="k")
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g")
    await collect(subscription, 1)

    assert len(await subscription.receive(3, timeout=PATIENCE)) <= 3
    await subscription.close()


async def test_what_is_held_is_not_handed_out_again(log: JobLog) -> None:
    await append(log, "jobs.m.normal", 5)
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g")
    await collect(subscription, 5)

    assert await drain(subscription) == []
    await subscription.close()


async def test_no_more_than_the_capacity_is_held(log: JobLog) -> None:
    await append(log, "jobs.m.normal", 10, key="k")
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g", capacity=3)
    held = await collect(subscription, 3)
    assert await drain(subscription) == []

    await subscription.acknowledge(held[0])

    assert numbers(await collect(subscription, 1)) == [3]
    assert await drain(subscription) == []
    await subscription.close()


async def test_a_reader_at_its_capacity_goes_on_when_it_acknowledges_meanwhile(log: JobLog) -> None:
    await append(log, "jobs.m.normal", 2, key="k")
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g", capacity=1)
    [held] = await collect(subscription, 1)
    receiving = asyncio.create_task(collect(subscription, 1))

    await subscription.acknowledge(held)

    assert numbers(await receiving) == [1]
    await subscription.close()


async def test_a_cancelled_receive_loses_no_message(log: JobLog) -> None:
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g")
    for number in range(20):
        receiving = asyncio.create_task(subscription.receive(1, timeout=PATIENCE))
        appending = asyncio.create_task(append(log, "jobs.m.normal", 1, first=number))
        await asyncio.sleep(0.0003 * number)
        receiving.cancel()
        outcome = await asyncio.gather(receiving, return_exceptions=True)
        await appending
        got = outcome[0] if isinstance(outcome[0], list) else await collect(subscription, 1)

        assert numbers(got) == [number]
        await subscription.acknowledge(*got)
    await subscription.close()


async def test_closing_ends_a_receive_that_waits(log: JobLog) -> None:
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g")
    receiving = asyncio.create_task(subscription.receive(1, timeout=10 * PATIENCE))
    await asyncio.sleep(0.1)

    await subscription.close()

    async with asyncio.timeout(PATIENCE):
        assert await receiving == []


async def test_topics_are_drained_by_their_weights_one_at_a_time(log: JobLog) -> None:
    weights = {"jobs.m.high": 8, "jobs.m.normal": 3, "jobs.m.low": 1}
    for topic in weights:
        await asyncio.gather(*(log.append(topic, f"k{n}", b"0", {}) for n in range(240)))
    subscription = await log.subscribe(weights, group="g")
    await subscription.acknowledge(*await collect(subscription, 12, limit=1))

    taken: Counter[str] = Counter()
    for _ in range(120):
        [delivery] = await collect(subscription, 1, limit=1)
        taken[delivery.position.topic] += 1
        await subscription.acknowledge(delivery)

    assert 70 <= taken["jobs.m.high"] <= 90
    assert 20 <= taken["jobs.m.normal"] <= 40
    assert 5 <= taken["jobs.m.low"] <= 15
    await subscription.close()


async def test_a_light_topic_alone_is_drained_at_once(log: JobLog) -> None:
    await append(log, "jobs.m.low", 20, key="k")
    subscription = await log.subscribe({"jobs.m.high": 8, "jobs.m.low": 1}, group="g")

    assert numbers(await collect(subscription, 20)) == list(range(20))
    await subscription.close()
