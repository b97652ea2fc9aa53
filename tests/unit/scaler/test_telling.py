from __future__ import annotations

from pathlib import Path

import pytest

from common.job_log import Start
from common.job_log.sqlite.log import SqliteJobLog
from common.scaling import ScalingDecided
from common.topic import EVENTS
from common.wire import decode_event
from scaler.observation import Alert, Decision
from scaler.telling import Telling

pytestmark = pytest.mark.anyio


async def told(folder: Path, *decisions: tuple[Decision, int]) -> list[ScalingDecided]:
    """What of the decisions is told, each made with so many consumers."""
    log = await SqliteJobLog.open(f"sqlite:///{folder}/log.sqlite")
    telling = Telling(log, "s")
    telling.start()
    for decision, consumers in decisions:
        telling.decided(decision, consumers, applied=True)
    last = Decision("last", 1, "the end")
    telling.decided(last, 0, applied=True)
    subscription = await log.subscribe({EVENTS: 1}, group=None, start=Start.EARLIEST)
    found: list[ScalingDecided] = []
    while not found or found[-1].model != "last":
        for delivery in await subscription.receive(100, 10.0):
            event = decode_event(delivery.value, delivery.headers)
            assert isinstance(event, ScalingDecided)
            found.append(event)
    await telling.close()
    await subscription.close()
    await log.close()
    return found[:-1]


async def test_a_change_is_told_once(tmp_path: Path) -> None:
    up, stays = Decision("m", 2, "work"), Decision("m", 2, "still work")
    [decided] = await told(tmp_path, (up, 0), (up, 0), (stays, 2), (stays, 2))
    assert (decided.before, decided.after, decided.reason) == (0, 2, "work")


async def test_a_change_that_comes_again_later_is_told_again(tmp_path: Path) -> None:
    up, stays = Decision("m", 1, "work"), Decision("m", 1, "")
    assert len(await told(tmp_path, (up, 0), (stays, 1), (up, 0))) == 2


async def test_an_alert_is_told_when_it_begins_and_when_it_ends(tmp_path: Path) -> None:
    well, ill = Decision("m", 1, "well"), Decision("m", 1, "poison", alert=Alert.POISON)
    decided = await told(tmp_path, (well, 1), (ill, 1), (ill, 1), (well, 1))
    assert [one.alert for one in decided] == ["poison", ""]
