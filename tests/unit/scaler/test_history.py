from __future__ import annotations

from dataclasses import replace

from common.scaling import Rules
from scaler.history import LONGEST_LOAD, SETTLED_SECONDS, History
from scaler.observation import Decision, Lag, Look, ModelSeen

RULES = Rules(hold_down=60.0)
ALIVE = Look(lag=Lag(normal=1), done=None, consumers=1, ready=1, alive={"w": True})
DEAD = replace(ALIVE, consumers=0, ready=0, failed=1, alive={})
IDLE = replace(ALIVE, lag=Lag())
LOADING = 40.0  # seconds until the model fails


def new() -> History:
    return History("m", 0.0)


def see(history: History, look: Look, now: float) -> ModelSeen:
    return history.see(look, RULES, now)


def live(history: History, now: float, seconds: float) -> float:
    """A consumer starts and lives for so long, looked at each half second; the time after it."""
    history.start("w", now)
    for half in range(int(seconds * 2)):
        see(history, ALIVE, now + half / 2)
    return now + seconds


def test_failures_add_up_although_each_consumer_lived_for_long() -> None:
    history, now = new(), 0.0
    for number in range(1, 5):
        now = live(history, now, LOADING)
        seen = see(history, DEAD, now)
        assert (seen.failures, seen.failed_at) == (number, now)
        now += 100.0


def test_a_consumer_that_outlives_the_one_that_failed_ends_the_row() -> None:
    history = new()
    now = live(history, 0.0, LOADING)
    see(history, DEAD, now)
    live(history, now, LOADING + SETTLED_SECONDS + 1)
    assert history.failures == 0


def test_a_consumer_that_did_work_ends_the_row_however_long_the_one_before_it_lived() -> None:
    history, now = new(), 0.0
    for finished in range(5):
        history.start("w", now)
        see(history, replace(ALIVE, done=finished), now)
        see(history, replace(ALIVE, done=finished + 1), now + 300.0)
        see(history, replace(DEAD, done=finished + 1), now + 301.0)
        assert history.failures == 1
        now += 310.0


def test_work_that_others_did_while_none_of_ours_lived_ends_no_row() -> None:
    history = new()
    history.start("w", 0.0)
    see(history, replace(DEAD, done=5), 1.0)
    see(history, replace(DEAD, done=6, failed=0), 2.0)
    assert history.failures == 1


def test_work_and_only_work_moves_the_idle_time() -> None:
    history = new()
    assert see(history, IDLE, 5.0).idle_since == 0.0
    assert see(history, replace(IDLE, lag=None), 6.0).idle_since == 0.0
    assert see(history, ALIVE, 7.0).idle_since == 7.0


def test_work_waits_unserved_until_a_consumer_is_ready() -> None:
    history = new()
    assert see(history, IDLE, 1.0).unserved_since == 1.0
    loading = replace(ALIVE, ready=0)
    assert see(history, loading, 2.0).unserved_since == 1.0
    assert see(history, replace(loading, lag=None), 3.0).unserved_since == 1.0
    assert see(history, ALIVE, 4.0).unserved_since == 4.0


def test_a_model_is_served_since_a_consumer_was_ready() -> None:
    history = new()
    assert see(history, replace(ALIVE, consumers=0, ready=0), 1.0).served_since == 1.0
    assert see(history, replace(ALIVE, ready=0), 2.0).served_since == 2.0
    assert see(history, ALIVE, 3.0).served_since == 2.0
    assert see(history, ALIVE, 9.0).served_since == 2.0


def test_a_model_that_loads_without_end_has_had_its_turn() -> None:
    history, loading = new(), replace(ALIVE, ready=0)
    see(history, loading, LONGEST_LOAD - 1)
    assert see(history, loading, LONGEST_LOAD + 50).served_since == LONGEST_LOAD - 1


def test_several_that_die_together_are_one_failure() -> None:
    history = new()
    assert see(history, replace(DEAD, failed=4), 1.0).failures == 1


def test_the_most_that_was_needed_counts_for_the_hold_down() -> None:
    history = new()
    for now, needed in ((0.0, 2), (10.0, 9), (20.0, 4), (30.0, 5)):
        see(history, ALIVE, now)
        history.decided(Decision("m", needed, "", needed), now)
    assert see(history, ALIVE, 70.0).needed_lately == 9
    assert see(history, ALIVE, 71.0).needed_lately == 5
    assert see(history, ALIVE, 500.0).needed_lately == 5


def test_what_another_scaler_started_is_taken_for_needed_at_first() -> None:
    assert see(new(), replace(IDLE, consumers=4, ready=4), 0.0).needed_lately == 4


def test_arrivals_are_what_was_done_and_what_is_left() -> None:
    history = new()
    for half in range(1200):
        done = half  # two a second, of three that arrive
        seen = see(history, replace(ALIVE, done=done, lag=Lag(normal=half // 2)), half / 2)
    assert 2.9 < seen.arrivals < 3.1


def test_ready_consumers_under_which_no_job_gets_further_are_stuck() -> None:
    history = new()
    works = Look(lag=Lag(normal=3), done=7, consumers=1, ready=1)
    see(history, works, 0.0)
    assert see(history, works, 10.0).stuck_since == 0.0
    assert see(history, works, 20.0).stuck_since == 0.0
    assert see(history, replace(works, moved=15.0), 30.0).stuck_since == 30.0
    assert see(history, replace(works, moved=15.0), 40.0).stuck_since == 30.0
    assert see(history, replace(works, done=8), 50.0).stuck_since == 50.0


def test_without_work_or_a_ready_consumer_or_an_answer_nothing_is_stuck() -> None:
    works = Look(lag=Lag(normal=3), done=7, consumers=1, ready=1)
    for otherwise in (
        replace(works, lag=Lag()),
        replace(works, ready=0),
        replace(works, lag=None, done=None),
    ):
        history = new()
        see(history, works, 0.0)
        assert see(history, otherwise, 10.0).stuck_since is None


def test_a_consumer_that_dies_again_and_again_beside_one_that_works_is_a_row() -> None:
    """As on a second device that is broken."""
    history = new()
    history.start("good", 0.0)
    good = replace(ALIVE, alive={"good": True})
    now = 0.0
    for number in range(1, 7):
        see(history, replace(good, done=number * 100), now)
        history.start(f"bad{number}", now)
        both = replace(good, consumers=2, alive={"good": True, f"bad{number}": False})
        see(history, replace(both, done=number * 100 + 50), now + 1)
        seen = see(history, replace(good, done=number * 100 + 60, failed=1), now + 2)
        assert seen.failures == number
        now += 60.0
