from __future__ import annotations

import asyncio

import pytest

from api.intake.gathering import Gathering

pytestmark = pytest.mark.anyio


async def test_one_alone_goes_on_at_once() -> None:
    async with asyncio.timeout(10):
        await Gathering().stored(asyncio.sleep(0))


async def test_those_under_way_together_go_on_together() -> None:
    gathering, last = Gathering(), asyncio.Event()
    done: list[str] = []

    async def store(name: str, put: asyncio.Event | None) -> None:
        await gathering.stored(put.wait() if put else asyncio.sleep(0))  # type: ignore[arg-type]
        done.append(name)

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(store("late", last))
        tasks.create_task(store("early", None))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert done == []
        last.set()
    assert sorted(done) == ["early", "late"]


async def test_one_that_takes_too_long_holds_nobody_up() -> None:
    gathering, never = Gathering(), asyncio.Event()
    hanging = asyncio.create_task(gathering.stored(never.wait()))  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        await asyncio.sleep(0)
        await gathering.stored(asyncio.sleep(0))
    hanging.cancel()


async def test_a_put_that_fails_lets_the_others_go_on() -> None:
    gathering = Gathering()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise OSError

    async with asyncio.timeout(10):
        results = await asyncio.gather(
            gathering.stored(fail()), gathering.stored(asyncio.sleep(0)), return_exceptions=True
        )
    assert isinstance(results[0], OSError)
    assert results[1] is None
