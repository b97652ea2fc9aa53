"""What is appended comes out as it went in, in order."""

from __future__ import annotations

import asyncio

import pytest

from common.job_log import JobLog
from tests.contract.job_log.steps import OpenLog, append, collect, lag, numbers

pytestmark = pytest.mark.anyio


async def test_positions_of_one_key_rise_in_one_partition(log: JobLog) -> None:
    positions = await append(log, "jobs.m.normal", 5, key="same")

    assert {(position.topic, position.partition) for position in positions} == {
        ("jobs.m.normal", positions[0].partition)
    }
    offsets = [position.offset for position in positions]
    assert offsets == sorted(set(offsets))


async def test_a_message_comes_back_as_it_was_sent(log: JobLog) -> None:
    headers = {"schema": "1", "traceparent": "00-äöü-✓", "empty": ""}
    position = await log.append("jobs.m.normal", "schlüssel-鍵-🔑", b"\x00\xff bytes", headers)
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g")

    [delivery] = await collect(subscription, 1)

    assert delivery.position == position
    assert delivery.key == "schlüssel-鍵-🔑"
    assert delivery.value == b"\x00\xff bytes"
    assert dict(delivery.headers) == headers
    await subscription.close()


async def test_an_empty_message_without_headers_is_a_message(log: JobLog) -> None:
    await log.append("jobs.m.normal", "k", b"", {})
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g")

    [delivery] = await collect(subscription, 1)

    assert delivery.value == b""
    assert dict(delivery.headers) == {}
    await subscription.close()


async def test_messages_of_one_key_keep_the_order_in_which_they_were_appended(log: JobLog) -> None:
    tasks = [
        asyncio.create_task(log.append("events", "job-1", str(number).encode(), {}))
        for number in range(100)
    ]
    await asyncio.gather(*tasks)
    subscription = await log.subscribe({"events": 1}, group="recorder")

    assert numbers(await collect(subscription, 100, limit=7)) == list(range(100))
    await subscription.close()


async def test_many_appends_at_once_all_arrive_at_positions_of_their_own(log: JobLog) -> None:
    positions = await asyncio.gather(
        *(log.append("events", f"k{n}", str(n).encode(), {}) for n in range(500))
    )
    subscription = await log.subscribe({"events": 1}, group="recorder")

    found = await collect(subscription, 500)

    assert len(set(positions)) == 500
    assert {delivery.position for delivery in found} == set(positions)
    assert sorted(numbers(found)) == list(range(500))
    await subscription.close()


async def test_a_waiting_reader_gets_what_another_opener_of_the_log_appends(
    log: JobLog, open_log: OpenLog
) -> None:
    other = await open_log()
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g")
    receiving = asyncio.create_task(collect(subscription, 1))
    assert await lag(other, "jobs.m.normal", "g") == 0

    await append(other, "jobs.m.normal", 1)

    assert numbers(await receiving) == [0]
    await subscription.close()
