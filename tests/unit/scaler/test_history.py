from __future__ import annotations

from scaler.history import SETTLED_SECONDS, History
from scaler.launchers import Launched

ALIVE = Launched("1", "m")
DEAD = Launched("1", "m", exit_code=1)
LOADING = 40.0  # seconds until the model fails


def live(history: History, now: float, seconds: float) -> float:
    """A consumer starts and lives for so long, looked at each half second; the time after it."""
    history.start(now)
    for half in range(int(seconds * 2)):
        history.look(1, [ALIVE], now + half / 2)
    return now + seconds


def test_failures_add_up_although_each_consumer_lived_for_long() -> None:
    history, now = History(idle_since=0.0), 0.0
    for number in range(1, 5):
        now = live(history, now, LOADING)
        history.look(1, [DEAD], now)
        assert (history.failures, history.failed_at) == (number, now)
        now += 100.0


def test_a_consumer_that_outlives_the_one_that_failed_ends_the_row() -> None:
    history = History(idle_since=0.0)
    now = live(history, 0.0, LOADING)
    history.look(1, [DEAD], now)
    live(history, now, LOADING + SETTLED_SECONDS + 1)
    assert history.failures == 0


def test_a_consumer_that_did_work_ends_the_row_however_long_the_one_before_it_lived() -> None:
    history, now = History(idle_since=0.0), 0.0
    for finished in range(5):
        history.start(now)
        history.look(1, [ALIVE], now, finished)
        history.look(1, [ALIVE], now + 300.0, finished + 1)
        history.look(1, [DEAD], now + 301.0, finished + 1)
        assert history.failures == 1
        now += 310.0


def test_work_that_others_did_while_none_of_ours_lived_ends_no_row() -> None:
    history = History(idle_since=0.0)
    history.start(0.0)
    history.look(1, [DEAD], 1.0, 5)
    history.look(1, [], 2.0, 6)
    assert history.failures == 1


def test_a_consumer_that_was_asked_to_stop_has_not_failed() -> None:
    history = History(idle_since=0.0)
    history.look(0, [Launched("1", "m", stopping=True, exit_code=-15)], 5.0)
    history.look(0, [Launched("1", "m", exit_code=0)], 6.0)
    assert history.failures == 0


def test_work_and_only_work_moves_the_idle_time() -> None:
    history = History(idle_since=1.0)
    history.look(0, [ALIVE], 5.0)
    history.look(None, [ALIVE], 6.0)
    assert history.idle_since == 1.0
    history.look(2, [ALIVE], 7.0)
    assert history.idle_since == 7.0
