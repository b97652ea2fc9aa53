"""What scalers decided, and what was changed while they ran."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from api.database import scaling
from api.database.database import Database
from common.scaling import (
    ModelScaling,
    ScalerStarted,
    ScalingDecided,
    ScalingMode,
    ScalingSettings,
)

pytestmark = pytest.mark.anyio


def decided(id: str, at: float, model: str = "o/m") -> ScalingDecided:
    return ScalingDecided(
        id=id, scaler="s", model=model, at=at, before=0, after=1, reason="work", applied=True
    )


async def test_decisions_are_kept_once_and_listed_the_latest_first(database: Database) -> None:
    said = [decided("a", 1.0), decided("b", 2.0), decided("c", 3.0, "o/other")]
    for _ in range(2):  # an event may come again
        async with database.write() as connection:
            assert await scaling.record(connection, said) is None

    async with database.read() as connection:
        first = await scaling.page(connection, model=None, cursor=None, limit=2)
        rest = await scaling.page(connection, model=None, cursor=first.next, limit=2)
        mine = await scaling.page(connection, model="o/m", cursor=None, limit=9)
        last = await scaling.latest(connection)
    assert [one.id for one in first.items + rest.items] == ["c", "b", "a"]
    assert mine.items == [said[1], said[0]]
    assert last == {"o/m": said[1], "o/other": said[2]}


async def test_old_decisions_are_forgotten(database: Database) -> None:
    async with database.write() as connection:
        await scaling.record(connection, [decided("old", 1.0), decided("new", 10.0)])
        await scaling.forget(connection, before=10.0)
        page = await scaling.page(connection, model=None, cursor=None, limit=9)
    assert [one.id for one in page.items] == ["new"]


async def test_a_scaler_that_asks_gets_the_settings(database: Database) -> None:
    asks = ScalerStarted(scaler="s", at=time.time())
    async with database.write() as connection:
        assert await scaling.record(connection, [asks]) == ScalingSettings(revision=0)
        await scaling.change(connection, _paused)
        told = await scaling.record(connection, [decided("a", 1.0), asks])
    assert told == ScalingSettings(revision=1, mode=ScalingMode.PAUSED)


async def test_changes_at_once_are_all_kept_each_under_a_revision_of_its_own(
    database: Database,
) -> None:
    async def change(number: int) -> int:
        def add(settings: ScalingSettings) -> ScalingSettings:
            models = {**settings.models, f"o/{number}": ModelScaling(max=number)}
            return msgspec.structs.replace(settings, models=models)

        async with database.write() as connection:
            return (await scaling.change(connection, add)).revision

    revisions = await asyncio.gather(*(change(number) for number in range(1, 9)))

    assert sorted(revisions) == list(range(1, 9))
    async with database.read() as connection:
        settings = await scaling.settings(connection)
    assert settings.revision == 8
    assert settings.models == {f"o/{number}": ModelScaling(max=number) for number in range(1, 9)}


def _paused(settings: ScalingSettings) -> ScalingSettings:
    return msgspec.structs.replace(settings, mode=ScalingMode.PAUSED)
