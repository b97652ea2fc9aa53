from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.access.lanes import lane
from common.job import Priority

BURST = 8


@pytest.mark.parametrize(
    ("asked", "lanes"),
    [
        (Priority.HIGH, ["high", "normal", "low", "low"]),
        (Priority.NORMAL, ["normal", "low", "low", "low"]),
        (Priority.LOW, ["low", "low", "low", "low"]),
    ],
)
def test_each_burst_goes_one_lower(asked: Priority, lanes: list[str]) -> None:
    assert [lane(asked, waiting, BURST) for waiting in range(0, 32, BURST)] == lanes
    assert [lane(asked, waiting, BURST) for waiting in range(7, 32, BURST)] == lanes


def test_a_burst_of_none_moves_no_job() -> None:
    assert lane(Priority.HIGH, 10_000, 0) is Priority.HIGH


@given(st.lists(st.tuples(st.sampled_from(Priority), st.integers(0, 3)), max_size=400))
def test_however_one_key_floods_the_upper_lanes_hold_at_most_their_bound(
    steps: list[tuple[Priority, int]],
) -> None:
    """Each step submits a job, and then ends so many of the lanes' oldest, high lanes first."""
    waiting: list[tuple[Priority, Priority]] = []
    for asked, ended in steps:
        chosen = lane(asked, sum(each[0] is asked for each in waiting), BURST)
        waiting.append((asked, chosen))
        lanes = Counter(each[1] for each in waiting)
        assert lanes[Priority.HIGH] <= BURST
        assert lanes[Priority.NORMAL] <= 2 * BURST
        waiting.sort(key=lambda each: list(Priority).index(each[1]))
        del waiting[:ended]
