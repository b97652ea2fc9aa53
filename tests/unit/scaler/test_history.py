from __future__ import annotations

from dataclasses import replace

from common.scaling import Rules
from scaler.history import LONGEST_LOAD, SETTLED_SECONDS, History
from scaler.observation import Decision, Lag, Look

RULES = Rules(hold_down=60.0)
ALIVE = Look(lag=Lag(normal=1), done=None, consumers=1, ready=1)
DEAD = replace(ALIVE, consumers=0, ready=0, failed=1)
IDLE = replace(ALIVE, lag=Lag())
LOADING = 40.0  # seconds until the model fails


def new() -> History:
    return History("m", RULES, 0.0)


def live(history: History, now: float, seconds: float) -> float:
    """A consumer starts and lives for so long, looked at each half second; the time after it."""
    history.start(now)
    for half in range(int(seconds * 2)):
        history.see(ALIVE, now + half / 2)
    return now + seconds


def test_failures_add_up_although_each_consumer_lived_for_long() -> None:
    history, now = new(), 0.0
    for number in range(1, 5):
        now = live(history, now, LOADING)
        seen = history.see(DEAD, now)
        assert (seen.failures, seen.failed_at) == (number, now)
        now += 100.0


def test_a_consumer_that_outlives_the_one_that_failed_ends_the_row() -> None:
    history = new()
    now = live(history, 0.0, LOADING)
    history.see(DEAD, now)
    live(history, now, LOADING + SETTLED_SECONDS + 1)
    assert history.failures == 0


def test_a_consumer_that_did_work_ends_the_row_however_long_the_one_before_it_lived() -> None:
    history, now = new(), 0.0
    for finished in range(5):
        history.start(now)
        history.see(replace(ALIVE, done=finished), now)
        history.see(replace(ALIVE, done=finished + 1), now + 300.0)
        history.see(replace(DEAD, done=finished + 1), now + 301.0)
        assert history.failures == 1
        now += 310.0


def test_work_that_others_did_while_none_of_ours_lived_ends_no_row() -> None:
    history = new()
    history.start(0.0)
    history.see(replace(DEAD, done=5), 1.0)
    history.see(replace(DEAD, done=6, failed=0), 2.0)
    assert history.failures == 1


def test_work_and_only_work_moves_the_idle_time() -> None:
    history = new()
    assert history.see(IDLE, 5.0).idle_since == 0.0
    assert history.see(replace(IDLE, lag=None), 6.0).idle_since == 0.0
    assert history.see(ALIVE, 7.0).idle_since == 7.0


def test_work_waits_unserved_until_a_consumer_is_ready() -> None:
    history = new()
    assert history.see(IDLE, 1.0).unserved_since == 1.0
    loading = replace(ALIVE, ready=0)
    assert history.see(loading, 2.0).unserved_since == 1.0
    assert history.see(replace(loading, lag=None), 3.0).unserved_since == 1.0
    assert history.see(ALIVE, 4.0).unserved_since == 4.0


def test_a_model_is_served_since_a_consumer_was_ready() -> None:
    history = new()
    assert history.see(replace(ALIVE, consumers=0, ready=0), 1.0).served_since == 1.0
    assert history.see(replace(ALIVE, ready=0), 2.0).served_since == 2.0
    assert history.see(ALIVE, 3.0).served_since == 2.0
    assert history.see(ALIVE, 9.0).served_since == 2.0


def test_a_model_that_loads_without_end_has_had_its_turn() -> None:
    history, loading = new(), replace(ALIVE, ready=0)
    history.see(loading, LONGEST_LOAD - 1)
    assert history.see(loading, LONGEST_LOAD + 50).served_since == LONGEST_LOAD - 1


def test_several_that_die_together_are_one_failure() -> None:
    history = new()
    assert history.see(replace(DEAD, failed=4), 1.0).failures == 1


def test_the_most_that_was_needed_counts_for_the_hold_down() -> None:
    history = new()
    for now, needed in ((0.0, 2), (10.0, 9), (20.0, 4), (30.0, 5)):
        history.see(ALIVE, now)
        history.decided(Decision("m", needed, "", needed), now)
    assert history.see(ALIVE, 70.0).needed_lately == 9
    assert history.see(ALIVE, 71.0).needed_lately == 5
    assert history.see(ALIVE, 500.0).needed_lately == 5


def test_what_another_scaler_started_is_taken_for_needed_at_first() -> None:
    assert new().see(replace(IDLE, consumers=4, ready=4), 0.0).needed_lately == 4


def test_arrivals_are_what_was_done_and_what_is_left() -> None:
    history = new()
    for half in range(1200):
        done = half  # two a second, of three that arrive
        seen = history.see(replace(ALIVE, done=done, lag=Lag(normal=half // 2)), half / 2)
    assert 2.9 < seen.arrivals < 3.1


def test_ready_consumers_under_which_no_job_gets_further_are_stuck() -> None:
    history = History("m", Rules(), 0.0)
    works = Look(lag=Lag(normal=3), done=7, consumers=1, ready=1)
    history.see(works, 0.0)
    assert history.see(works, 10.0).stuck_since == 0.0
    assert history.see(works, 20.0).stuck_since == 0.0
    assert history.see(replace(works, moved=15.0), 30.0).stuck_since == 30.0
    assert history.see(replace(works, moved=15.0), 40.0).stuck_since == 30.0
    assert history.see(replace(works, done=8), 50.0).stuck_since == 50.0


def test_without_work_or_a_ready_consumer_or_an_answer_nothing_is_stuck() -> None:
    works = Look(lag=Lag(normal=3), done=7, consumers=1, ready=1)
    for otherwise in (
        replace(works, lag=Lag()),
        replace(works, ready=0),
        replace(works, lag=None, done=None),
    ):
        history = History("m", Rules(), 0.0)
        history.see(works, 0.0)
        assert history.see(otherwise, 10.0).stuck_since is None
