from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.live.queues import ahead_of
from common.job_log import Bounds, Position, TopicPartition

TOPIC = "jobs.a--b.normal"


def topic(*lags: int, committed: int = 100) -> dict[TopicPartition, Bounds]:
    return {
        TopicPartition(TOPIC, number): Bounds(0, committed, committed + lag)
        for number, lag in enumerate(lags)
    }


def test_partitions_that_are_filled_alike_make_a_position_of_offset_times_partitions() -> None:
    assert ahead_of(Position(TOPIC, 1, 110), topic(50, 50, 50, 50)) == 40


def test_a_partition_that_holds_less_lets_only_that_much_go_first() -> None:
    assert ahead_of(Position(TOPIC, 0, 110), topic(50, 0, 3, 50)) == 10 + 0 + 3 + 10


def test_a_job_that_is_taken_already_has_none_before_it() -> None:
    assert ahead_of(Position(TOPIC, 0, 99), topic(5, 5)) == 0


def test_other_topics_do_not_count() -> None:
    others = {TopicPartition("jobs.a--b.low", 0): Bounds(0, 0, 1000)}
    assert ahead_of(Position(TOPIC, 0, 102), topic(5) | others) == 2


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=12), st.data())
def test_a_position_is_below_the_jobs_that_wait(lags: list[int], data: st.DataObject) -> None:
    lags[0] += 1
    offset = 100 + data.draw(st.integers(0, lags[0] - 1))
    position = ahead_of(Position(TOPIC, 0, offset), topic(*lags))
    assert offset - 100 <= position < sum(lags)
    assert position <= (offset - 100) * len(lags)
