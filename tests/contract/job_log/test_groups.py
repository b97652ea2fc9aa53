"""Readers of a group share the messages; readers without one get all."""

from __future__ import annotations

import asyncio

import pytest

from common.job_log import Delivery, JobLog, Start, Subscription
from tests.contract.job_log.steps import (
    PATIENCE,
    QUIET,
    OpenLog,
    append,
    collect,
    drain,
    lag,
    numbers,
)

pytestmark = pytest.mark.anyio


async def test_readers_of_one_group_hold_different_messages(log: JobLog, open_log: OpenLog) -> None:
    topics = {"jobs.m.normal": 1}
    one = await log.subscribe(topics, group="g", capacity=1)
    two = await (await open_log()).subscribe(topics, group="g", capacity=1)
    await until_all_take_part(log, "jobs.m.normal", [one, two])

    await append(log, "jobs.m.normal", 40)
    [first], [second] = await asyncio.gather(collect(one, 1), collect(two, 1))

    assert first.position != second.position
    await one.close()
    await two.close()


async def test_readers_of_one_group_finish_every_message_together(
    log: JobLog, open_log: OpenLog
) -> None:
    topics = {"jobs.m.normal": 1}
    readers = [
        await log.subscribe(topics, group="g"),
        await (await open_log()).subscribe(topics, group="g"),
    ]
    finished: set[int] = set()

    async def work(subscription: Subscription) -> None:
        while len(finished) < 60:
            for delivery in await subscription.receive(3, timeout=0.5):
                await subscription.acknowledge(delivery)
                finished.add(int(delivery.value))

    await append(log, "jobs.m.normal", 60)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(work(subscription) for subscription in readers))

    assert finished == set(range(60))
    assert await lag(log, "jobs.m.normal", "g") == 0
    for subscription in readers:
        await subscription.close()


async def test_a_message_waits_while_another_reader_holds_an_earlier_one_of_its_key(
    log: JobLog, open_log: OpenLog
) -> None:
    readers = [
        await log.subscribe({"events": 1}, group="g"),
        await (await open_log()).subscribe({"events": 1}, group="g"),
    ]
    await until_all_take_part(log, "events", readers)

    await append(log, "events", 1, key="k")
    holder, first = await whoever_gets_one(readers)
    await append(log, "events", 2, key="k", first=1)
    [second] = await collect(holder, 1, limit=1)
    [other] = [each for each in readers if each is not holder]
    assert await other.receive(1, QUIET) == []
    await append(log, "events", 20, first=3)  # of other keys: they need not wait

    assert numbers([first, second]) == [0, 1]
    others = await drain(other)
    assert 2 not in numbers(others)
    await holder.acknowledge(first, second)
    left = {*range(2, 23)} - {*numbers(others)}
    async with asyncio.timeout(PATIENCE):
        while left:
            for each in readers:
                left -= {*numbers(await each.receive(100, timeout=QUIET))}
    for each in readers:
        await each.close()


async def until_all_take_part(log: JobLog, topic: str, readers: list[Subscription]) -> None:
    """A reader that joins late takes from the others: its joining must be over."""
    idle = set(readers)
    async with asyncio.timeout(PATIENCE):
        while idle:
            await append(log, topic, 8)
            for reader in readers:
                found = await reader.receive(1, timeout=QUIET)
                await reader.acknowledge(*found)
                idle -= {reader} if found else set()
        while await lag(log, topic, "g"):
            for reader in readers:
                await reader.acknowledge(*await reader.receive(100, timeout=0.1))


async def whoever_gets_one(readers: list[Subscription]) -> tuple[Subscription, Delivery]:
    async with asyncio.timeout(PATIENCE):
        while True:
            for reader in readers:
                for delivery in await reader.receive(1, timeout=QUIET):
                    return reader, delivery


async def test_each_group_gets_every_message(log: JobLog) -> None:
    await append(log, "events", 5)
    for group in ("one", "two"):
        subscription = await log.subscribe({"events": 1}, group=group)
        found = await collect(subscription, 5)
        await subscription.acknowledge(*found)
        await subscription.close()

        assert sorted(numbers(found)) == [0, 1, 2, 3, 4]


async def test_each_reader_without_a_group_gets_every_message(
    log: JobLog, open_log: OpenLog
) -> None:
    readers = [
        await log.subscribe({"updates": 1}, group=None),
        await log.subscribe({"updates": 1}, group=None),
        await (await open_log()).subscribe({"updates": 1}, group=None),
    ]

    await append(log, "updates", 5, key="k")

    for subscription in readers:
        assert numbers(await collect(subscription, 5)) == [0, 1, 2, 3, 4]
        assert await drain(subscription) == []
        await subscription.close()


async def test_a_reader_without_a_group_acknowledges_in_vain(log: JobLog) -> None:
    await append(log, "updates", 1)
    subscription = await log.subscribe({"updates": 1}, group=None)
    await subscription.acknowledge(*await collect(subscription, 1))
    await subscription.close()
    another = await log.subscribe({"updates": 1}, group=None)

    assert numbers(await collect(another, 1)) == [0]
    await another.close()


async def test_a_reader_without_a_group_is_not_bound_by_its_capacity_over_time(
    log: JobLog,
) -> None:
    await append(log, "updates", 10, key="k")
    subscription = await log.subscribe({"updates": 1}, group=None, capacity=2)

    assert numbers(await collect(subscription, 10)) == list(range(10))
    await subscription.close()


async def test_a_reader_from_the_latest_gets_only_what_comes_later(log: JobLog) -> None:
    await append(log, "updates", 3)
    subscription = await log.subscribe({"updates": 1}, group=None, start=Start.LATEST)

    await append(log, "updates", 1, first=3)

    assert numbers(await collect(subscription, 1)) == [3]
    assert await drain(subscription) == []
    await subscription.close()


async def test_a_reader_from_the_earliest_gets_what_was_there_before(log: JobLog) -> None:
    await append(log, "control", 3, key="k")
    subscription = await log.subscribe({"control": 1}, group=None, start=Start.EARLIEST)

    assert numbers(await collect(subscription, 3)) == [0, 1, 2]
    await subscription.close()


async def test_a_reader_holds_what_it_received_until_it_gives_it_up(log: JobLog) -> None:
    subscription = await log.subscribe({"scaler": 1}, group="g")
    await append(log, "scaler", 2, key="k")
    kept, released = await collect(subscription, 2)
    assert await subscription.holds(kept)

    await subscription.release(released)
    assert not await subscription.holds(released)
    [again] = await collect(subscription, 1)
    await subscription.acknowledge(kept)

    assert not await subscription.holds(kept)
    assert await subscription.holds(again)
    await subscription.close()


async def test_a_newcomer_to_the_group_takes_nothing_until_the_holder_leaves(
    log: JobLog, open_log: OpenLog
) -> None:
    holder = await log.subscribe({"scaler": 1}, group="g")
    await append(log, "scaler", 1, key="k")
    [token] = await collect(holder, 1)
    newcomer = await (await open_log()).subscribe({"scaler": 1}, group="g")

    assert await newcomer.receive(1, timeout=2 * QUIET) == []
    async with asyncio.timeout(PATIENCE):
        while not await holder.holds(token):  # noqa: ASYNC110 - a rebalance may go on
            await asyncio.sleep(0.1)
    await holder.close()
    [taken] = await collect(newcomer, 1)

    assert taken.position == token.position
    assert await newcomer.holds(taken)
    assert not await holder.holds(token)
    await newcomer.close()


async def test_a_reader_without_a_group_holds_nothing(log: JobLog) -> None:
    await append(log, "updates", 1)
    subscription = await log.subscribe({"updates": 1}, group=None)
    [delivery] = await collect(subscription, 1)

    assert not await subscription.holds(delivery)
    await subscription.close()
