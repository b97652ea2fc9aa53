"""What one model's work asks for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaler.demand import POISON_SECONDS, backoff, demand
from scaler.observation import Alert, Decision, Lag, ModelSeen
from tests.unit.scaler.seen import IDLE, NOW, RULES

NOTHING = replace(IDLE, lag=Lag())


def decided(seen: ModelSeen, **fields: object) -> int:
    return demand(replace(seen, **fields), NOW).consumers  # type: ignore[arg-type]


def test_work_starts_a_consumer() -> None:
    assert decided(NOTHING, lag=Lag(normal=1)) == 1


def test_nothing_to_do_starts_nothing() -> None:
    assert decided(NOTHING) == 0


def test_how_long_a_job_takes_is_found_out_with_one_consumer() -> None:
    assert decided(NOTHING, lag=Lag(normal=10_000), seconds_per_job=None) == 1


@pytest.mark.parametrize(
    ("jobs", "consumers"),
    # Of 30 s, 20 go to the cold start, and half of the target is left at least.
    [(7, 1), (8, 2), (300, 40)],
)
def test_from_none_on_as_many_start_as_drain_it_in_what_the_cold_start_leaves(
    jobs: int, consumers: int
) -> None:
    assert decided(NOTHING, lag=Lag(normal=jobs)) == consumers


def test_what_is_drained_in_time_starts_no_more() -> None:
    busy = replace(NOTHING, consumers=2, ready=2, needed_lately=2)
    assert decided(busy, lag=Lag(normal=30)) == 2
    assert decided(busy, lag=Lag(normal=31)) > 2


def test_what_would_be_drained_before_another_had_loaded_starts_no_more() -> None:
    busy = replace(NOTHING, consumers=1, ready=1, lag=Lag(normal=40))
    assert decided(busy, cold_start=81.0) == 1
    assert decided(busy, cold_start=79.0) > 1


def test_those_that_load_are_not_started_again() -> None:
    wanted = decided(NOTHING, lag=Lag(normal=300))
    assert decided(NOTHING, lag=Lag(normal=300), consumers=wanted) == wanted


def test_high_priority_has_a_third_of_the_time_and_low_ten_times_as_much() -> None:
    normal, high, low = (
        decided(NOTHING, lag=lag, cold_start=0.0)
        for lag in (Lag(normal=150), Lag(high=150), Lag(low=150))
    )
    assert (normal, high, low) == (10, 30, 1)


def test_there_are_never_more_consumers_than_jobs_or_than_max() -> None:
    assert decided(NOTHING, lag=Lag(normal=3), seconds_per_job=600.0) == 3
    most = demand(replace(NOTHING, lag=Lag(normal=9000)), NOW)
    assert most.consumers == RULES.maximum
    assert f"max={RULES.maximum}" in most.reason


def test_more_arrive_than_can_be_done() -> None:
    """Once what waits is no accident any more: 75 s of work are a quarter of the target.

    What is being worked on does not wait.
    """
    busy = replace(NOTHING, consumers=10, ready=10, arrivals=8.0, needed_lately=10)
    assert decided(busy, lag=Lag(normal=47)) == 10
    decision = demand(replace(busy, lag=Lag(normal=48)), NOW)
    assert decision.consumers == 18  # of 16 that are busy all the time
    assert "arrive each second" in decision.reason
    assert decided(busy, lag=Lag(normal=48), arrivals=4.0) == 10


def test_no_more_stop_than_arrivals_let() -> None:
    """Twenty jobs of 2 s a second keep 40 busy; a few more keep waits below the target."""
    many = replace(NOTHING, consumers=60, ready=60, lag=Lag(normal=40), arrivals=20.0)
    assert 40 < decided(many) < 46


def test_long_jobs_that_come_seldom_keep_one_consumer() -> None:
    """A job of two minutes each ten: what keeps waits short is no more than the load asks for."""
    many = replace(NOTHING, consumers=9, ready=9, lag=Lag(normal=1), seconds_per_job=120.0)
    assert decided(many, arrivals=1 / 600) <= 3


def test_some_stop_once_fewer_were_enough_for_the_hold_down() -> None:
    many = replace(NOTHING, consumers=9, ready=9, lag=Lag(normal=1))
    assert decided(many, needed_lately=9) == 9
    decision = demand(replace(many, needed_lately=3), NOW)
    assert decision.consumers == 3
    assert "60 s" in decision.reason


def test_the_last_consumer_stops_after_the_cooldown() -> None:
    idle = replace(NOTHING, consumers=1, ready=1)
    assert decided(idle, idle_since=NOW - 59) == 1
    assert decided(idle, idle_since=NOW - 60) == 0


def test_the_minimum_is_kept_when_idle() -> None:
    kept = replace(NOTHING, rules=replace(RULES, minimum=2))
    assert decided(kept) == 2
    assert decided(kept, consumers=5, ready=5, idle_since=0.0) == 2


@pytest.mark.parametrize("consumers", [0, 1, 3])
def test_an_unknown_lag_changes_nothing(consumers: int) -> None:
    unknown = replace(IDLE, consumers=consumers, idle_since=0.0)
    assert demand(unknown, NOW) == Decision("m", consumers, "lag unknown: nothing changes")


def test_a_consumer_that_died_is_started_again_after_a_backoff_that_grows() -> None:
    died = replace(NOTHING, lag=Lag(normal=5), failures=3, failed_at=NOW - backoff(3) + 1)
    decision = demand(died, NOW)
    assert decision.consumers == 0
    assert "3 times" in decision.reason
    assert decided(died, failed_at=NOW - backoff(3)) == 1
    assert backoff(1) < backoff(2) < backoff(20) == backoff(21)


def test_what_hangs_is_called_poison_and_not_scaled_on() -> None:
    hangs = replace(NOTHING, lag=Lag(normal=500), consumers=1, ready=1)
    assert decided(hangs, stuck_since=NOW - POISON_SECONDS + 1) > 1
    decision = demand(replace(hangs, stuck_since=NOW - POISON_SECONDS), NOW)
    assert (decision.consumers, decision.alert) == (1, Alert.POISON)
    assert "500 jobs" in decision.reason


def test_jobs_that_take_long_are_no_poison() -> None:
    long = replace(NOTHING, lag=Lag(normal=5), consumers=1, ready=1, seconds_per_job=1000.0)
    assert demand(replace(long, stuck_since=NOW - 3999), NOW).alert is None
    assert demand(replace(long, stuck_since=NOW - 4000), NOW).alert is Alert.POISON


def test_after_five_failures_in_a_row_the_breaker_opens_and_one_is_tried() -> None:
    many = replace(NOTHING, lag=Lag(normal=500))
    assert decided(many, failures=4) > 1
    opened = demand(replace(many, failures=5), NOW)
    assert (opened.consumers, opened.alert) == (1, Alert.BREAKER)
    waits = demand(replace(many, failures=5, failed_at=NOW - backoff(5) + 1), NOW)
    assert (waits.consumers, waits.alert) == (0, Alert.BREAKER)
    tried = demand(replace(many, failures=5, consumers=1, ready=1, lag=Lag(normal=1)), NOW)
    assert tried.alert is Alert.BREAKER  # until it has shown that it lives
