"""The bounds that docs/fairness.md publishes, as a consumer of each log sees them."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from api.access.lanes import lane
from common.job import Priority
from common.job_log import Delivery, JobLog, Subscription
from common.topic import consumer_group, job_topic, job_topics
from tests.contract.job_log.steps import PATIENCE

pytestmark = pytest.mark.anyio

MODEL = "darkroom/echo"
BURST = 8
WORK_SECONDS = 0.05  # of a job, in which the log brings the next ones


async def flood(log: JobLog, asked: Priority, count: int) -> None:
    """One key's jobs, as the API places them while none of them starts."""
    await asyncio.gather(
        *(
            log.append(job_topic(MODEL, lane(asked, number, BURST)), f"many-{number}", b"", {})
            for number in range(count)
        )
    )


async def consumer(log: JobLog) -> Subscription:
    return await log.subscribe(job_topics(MODEL), group=consumer_group(MODEL), capacity=2)


async def run_one(subscription: Subscription, *, work_seconds: float = 0) -> Delivery:
    async with asyncio.timeout(PATIENCE):
        while not (deliveries := await subscription.receive(1, 5)):
            pass
    await asyncio.sleep(work_seconds)
    await subscription.acknowledge(*deliveries)
    return deliveries[0]


async def deliveries_until(subscription: Subscription, key: str, most: int) -> int:
    for number in range(1, most + 50):
        if (await run_one(subscription, work_seconds=WORK_SECONDS)).key == key:
            return number
    raise AssertionError(f"{key} did not come within {most + 50} deliveries")


@pytest.mark.parametrize(
    ("asked", "bursts"), [(Priority.HIGH, 4), (Priority.NORMAL, 6)], ids=["high", "normal"]
)
async def test_one_keys_flood_delays_anothers_first_job_by_the_published_bound(
    log: JobLog, asked: Priority, bursts: int
) -> None:
    for priority in Priority:
        await flood(log, priority, 250)
    subscription = await consumer(log)
    for _ in range(3):  # it is under way when the other one comes
        await run_one(subscription)
    await log.append(job_topic(MODEL, lane(asked, 0, BURST)), "first", b"", {})
    assert await deliveries_until(subscription, "first", bursts * BURST) <= bursts * BURST
    await subscription.close()


async def test_low_gets_its_share_however_much_else_waits(log: JobLog) -> None:
    for priority in Priority:
        for number in range(130):
            await log.append(job_topic(MODEL, priority), f"{priority}-{number}", b"", {})
    subscription = await consumer(log)
    taken = Counter([(await run_one(subscription)).position.topic for _ in range(120)])
    assert taken[job_topic(MODEL, Priority.LOW)] >= 0.05 * 120
    assert taken[job_topic(MODEL, Priority.HIGH)] > taken[job_topic(MODEL, Priority.NORMAL)]
    await subscription.close()


async def test_high_waits_behind_two_batches_of_low_at_most(log: JobLog) -> None:
    for number in range(60):
        await log.append(job_topic(MODEL, Priority.LOW), f"low-{number}", b"", {})
    subscription = await consumer(log)
    for _ in range(5):
        await run_one(subscription)
    await log.append(job_topic(MODEL, Priority.HIGH), "urgent", b"", {})
    keys = [(await run_one(subscription, work_seconds=0.3)).key for _ in range(3)]
    assert "urgent" in keys  # after the one that runs and the one that is fetched
    await subscription.close()
