from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from common.job_log.weights import WeightedChoice

PRIORITIES = {"high": 8, "normal": 3, "low": 1}


def test_a_round_takes_each_topic_as_often_as_it_weighs() -> None:
    choice = WeightedChoice(PRIORITIES)

    for _ in range(5):
        assert Counter(choice.next(PRIORITIES) for _ in range(12)) == PRIORITIES


def test_turns_of_a_heavy_topic_are_spread_so_that_none_waits_longer_than_a_round() -> None:
    choice = WeightedChoice(PRIORITIES)

    turns = [choice.next(PRIORITIES) for _ in range(120)]

    assert all("low" in turns[start : start + 12] for start in range(109))


def test_a_topic_with_nothing_waiting_leaves_its_turns_to_the_others() -> None:
    choice = WeightedChoice(PRIORITIES)

    assert Counter(choice.next(["normal", "low"]) for _ in range(40)) == {"normal": 30, "low": 10}


def test_taking_stops_at_the_limit_and_where_nothing_waits() -> None:
    choice = WeightedChoice(PRIORITIES)

    assert len(choice.take({"high": 100, "low": 100}, 7)) == 7
    assert Counter(choice.take({"high": 1, "normal": 0, "low": 2}, 100)) == {"high": 1, "low": 2}
    assert choice.take({"high": 0}, 5) == []


@given(st.lists(st.sets(st.sampled_from(sorted(PRIORITIES)), min_size=1), max_size=300))
def test_whatever_waited_before_the_ratio_holds_over_time(past: list[set[str]]) -> None:
    choice = WeightedChoice(PRIORITIES)
    for waiting in past:
        choice.next(sorted(waiting))

    taken = Counter(choice.next(PRIORITIES) for _ in range(1200))

    for topic, weight in PRIORITIES.items():
        assert abs(taken[topic] - 100 * weight) <= 24
