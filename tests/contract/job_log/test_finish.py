"""What becomes of messages that were finished, released, or left behind."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from common.job_log import JobLog
from tests.contract.job_log.steps import (
    PATIENCE,
    OpenLog,
    append,
    collect,
    drain,
    lag,
    numbers,
    partition_of,
)

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.anyio


async def test_what_was_acknowledged_is_never_handed_out_again(log: JobLog) -> None:
    await append(log, "jobs.m.normal", 5)
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g")
    await subscription.acknowledge(*await collect(subscription, 5))
    await subscription.close()
    another = await log.subscribe({"jobs.m.normal": 1}, group="g")

    assert await drain(another) == []
    await another.close()


async def test_acknowledging_twice_is_passed_over(log: JobLog) -> None:
    await append(log, "jobs.m.normal", 2, key="k")
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g")
    first, second = await collect(subscription, 2)
    await subscription.acknowledge(first)

    await subscription.acknowledge(first, second)

    assert await lag(log, "jobs.m.normal", "g") == 0
    await subscription.close()


async def test_committed_is_the_lowest_offset_still_to_be_finished(log: JobLog) -> None:
    positions = await append(log, "jobs.m.normal", 5, key="k")
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g")
    held = await collect(subscription, 5)

    await subscription.acknowledge(held[2], held[1])
    assert (await partition_of(log, positions[0], "g")).committed == positions[0].offset
    await subscription.acknowledge(held[0])
    assert (await partition_of(log, positions[0], "g")).committed == positions[3].offset
    await subscription.acknowledge(held[4], held[3])
    bounds = await partition_of(log, positions[0], "g")
    assert bounds.committed == bounds.end == positions[4].offset + 1
    await subscription.close()


async def test_a_new_reader_skips_what_was_finished_above_the_low_water(log: JobLog) -> None:
    await append(log, "jobs.m.normal", 6, key="k")
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g")
    held = await collect(subscription, 6)
    await subscription.acknowledge(held[1], held[3], held[4])
    await subscription.close()
    another = await log.subscribe({"jobs.m.normal": 1}, group="g")

    found = await collect(another, 3)

    assert numbers(found) == [0, 2, 5]
    assert await drain(another) == []
    await another.acknowledge(*found)
    assert await lag(log, "jobs.m.normal", "g") == 0
    await another.close()


async def test_what_is_released_is_handed_out_again(log: JobLog) -> None:
    await append(log, "jobs.m.normal", 3, key="k")
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g")
    held = await collect(subscription, 3)

    await subscription.release(held[0], held[2])

    assert sorted(numbers(await collect(subscription, 2))) == [0, 2]
    assert await drain(subscription) == []
    await subscription.close()


async def test_what_a_reader_without_a_group_releases_comes_to_it_again(log: JobLog) -> None:
    await append(log, "updates", 2, key="k")
    subscription = await log.subscribe({"updates": 1}, group=None)
    held = await collect(subscription, 2)

    await subscription.release(*held)

    assert numbers(await collect(subscription, 2)) == [0, 1]
    await subscription.close()


async def test_closing_gives_what_was_held_to_another_reader_at_once(
    log: JobLog, open_log: OpenLog
) -> None:
    await append(log, "jobs.m.normal", 5)
    leaving = await log.subscribe({"jobs.m.normal": 1}, group="g")
    await collect(leaving, 5)
    staying = await (await open_log()).subscribe({"jobs.m.normal": 1}, group="g")

    await leaving.close()

    found: set[int] = set()
    async with asyncio.timeout(PATIENCE):
        while len(found) < 5:
            found.update(numbers(await staying.receive(5, timeout=5)))
    assert found == {0, 1, 2, 3, 4}
    await staying.close()


async def test_what_a_killed_process_held_is_handed_out_again(url: str, log: JobLog) -> None:
    await append(log, "jobs.m.normal", 5)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.contract.job_log.holding_reader",
        *(url, "jobs.m.normal", "g", "5"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            assert await process.stdout.readline() == b"holding 5\n"
    finally:
        process.send_signal(signal.SIGKILL)
        await process.communicate()
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g")

    assert sorted(numbers(await collect(subscription, 5))) == [0, 1, 2, 3, 4]
    await subscription.close()
