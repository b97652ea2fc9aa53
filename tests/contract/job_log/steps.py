"""The steps that the job log's contract tests are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from common.job_log import Bounds, Delivery, JobLog, Position, Subscription, TopicPartition

PATIENCE = 60.0  # seconds; a rebalance of Kafka after a death takes some 10 of them
QUIET = 1.5  # seconds without a message that show that none is coming

OpenLog = Callable[[], Awaitable[JobLog]]


async def append(
    log: JobLog, topic: str, count: int, *, key: str | None = None, first: int = 0
) -> list[Position]:
    """Messages `first`, `first + 1`, …; each with a key of its own if none is given."""
    return [
        await log.append(topic, key or f"key-{number}", str(number).encode(), {})
        for number in range(first, first + count)
    ]


async def collect(subscription: Subscription, count: int, *, limit: int = 100) -> list[Delivery]:
    """Receive until there are `count`."""
    found: list[Delivery] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            found += await subscription.receive(min(limit, count - len(found)), timeout=5)
    return found


async def drain(subscription: Subscription) -> list[Delivery]:
    """Receive until nothing comes any more."""
    found: list[Delivery] = []
    while more := await subscription.receive(100, timeout=QUIET):
        found += more
    return found


def numbers(deliveries: list[Delivery]) -> list[int]:
    return [int(delivery.value) for delivery in deliveries]


async def lag(log: JobLog, topic: str, group: str) -> int:
    return sum(bounds.lag for bounds in (await log.bounds({topic: group})).values())


async def partition_of(log: JobLog, position: Position, group: str | None) -> Bounds:
    bounds = await log.bounds({position.topic: group})
    return bounds[TopicPartition(position.topic, position.partition)]
