"""When a job is gone from the log."""

from __future__ import annotations

import pytest

from api.database.positions import Appended
from api.database.sweeping import Unended
from api.sweeper import CLOCK_SECONDS, is_gone
from common.job_log import Bounds, Position, TopicPartition

READ_AT = 1000.0
BOUNDS = {TopicPartition("jobs.a.high", 0): Bounds(start=5, committed=10, end=20)}


def gone(offset: int | None, *, partition: int = 0, at: float = 0.0, created: float = 0.0) -> bool:
    appended = None
    if offset is not None:
        appended = Appended(Position("jobs.a.high", partition, offset), at)
    job = Unended("id", created, appended)
    return is_gone(job, BOUNDS, read_at=READ_AT, after_seconds=30.0)


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(4, True), (5, True), (9, True), (10, False), (19, False), (20, True), (10**9, True)],
)
def test_a_position_counts_from_the_committed_one_up_to_the_end(
    offset: int, expected: bool
) -> None:
    assert gone(offset) is expected


def test_a_partition_that_is_no_more_holds_nothing() -> None:
    assert gone(12, partition=1)


def test_a_position_kept_after_the_bounds_were_read_is_left_to_the_next_round() -> None:
    assert not gone(20, at=READ_AT + 1)
    assert not gone(20, at=READ_AT - CLOCK_SECONDS / 2)
    assert not gone(0, at=READ_AT)
    assert gone(20, at=READ_AT - CLOCK_SECONDS - 1)


def test_a_job_without_a_position_has_its_time() -> None:
    assert not gone(None, created=READ_AT - 30.0)
    assert gone(None, created=READ_AT - 30.1)
    assert not gone(None, created=READ_AT + 100)
