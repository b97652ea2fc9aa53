"""How far the recorder has come, by what it committed of the ends that were seen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

import pytest

from api.upkeep.recorder_progress import RecorderProgress
from common.job_log import Bounds, JobLog, TopicPartition

pytestmark = pytest.mark.anyio


class Ends:
    """A log whose only partition of `events` has these bounds."""

    def __init__(self) -> None:
        self.committed, self.end = 0, 0

    async def bounds(self, topics: Mapping[str, Any]) -> dict[TopicPartition, Bounds]:
        return {TopicPartition(topic, 0): Bounds(0, self.committed, self.end) for topic in topics}


async def test_a_recorder_that_is_always_a_little_behind_is_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Ends()
    progress = RecorderProgress(cast(JobLog, log))
    reached = []
    for moment in range(1, 10):
        monkeypatch.setattr(time, "time", lambda moment=moment: float(moment))
        log.end, log.committed = moment * 10, max(moment - 3, 0) * 10
        reached.append(await progress.reached())
    assert reached == [0, 0, 0, 1, 2, 3, 4, 5, 6]


async def test_what_was_seen_of_a_log_that_was_wiped_counts_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Ends()
    progress = RecorderProgress(cast(JobLog, log))
    for moment, end, committed, known in [(1, 50, 10, 0), (2, 3, 0, 0), (3, 4, 3, 2), (4, 4, 4, 4)]:
        monkeypatch.setattr(time, "time", lambda moment=moment: float(moment))
        log.end, log.committed = end, committed
        assert await progress.reached() == known
