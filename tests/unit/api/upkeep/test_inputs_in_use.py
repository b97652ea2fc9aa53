from __future__ import annotations

import asyncio

import pytest

from api.upkeep.inputs_in_use import InputsInUse

pytestmark = pytest.mark.anyio


async def test_a_deletion_waits_for_all_who_are_about_to_refer_to_the_key() -> None:
    inputs, steps, release = InputsInUse(), [], asyncio.Event()

    async def submit(name: str) -> None:
        async with inputs.using("key"):
            await release.wait()
            steps.append(name)

    async def delete() -> None:
        async with inputs.alone("key"):
            steps.append("deleted")

    submits = [asyncio.create_task(submit(name)) for name in ("a", "b")]
    await asyncio.sleep(0)
    deletion = asyncio.create_task(delete())
    done, _ = await asyncio.wait([deletion], timeout=0.05)
    assert not done
    release.set()
    await asyncio.wait_for(asyncio.gather(*submits, deletion), 5)
    assert sorted(steps[:2]) == ["a", "b"]
    assert steps[2:] == ["deleted"]


async def test_who_comes_during_a_deletion_stores_the_bytes_after_it() -> None:
    inputs, steps, release = InputsInUse(), [], asyncio.Event()

    async def delete() -> None:
        async with inputs.alone("key"):
            await release.wait()
            steps.append("deleted")

    async def submit() -> None:
        async with inputs.using("key"):
            steps.append("stored")

    deletion = asyncio.create_task(delete())
    await asyncio.sleep(0)
    late = asyncio.create_task(submit())
    async with inputs.using("another key"):  # waits for nobody
        done, _ = await asyncio.wait([late], timeout=0.05)
    assert not done
    release.set()
    await asyncio.wait_for(asyncio.gather(deletion, late), 5)
    assert steps == ["deleted", "stored"]
