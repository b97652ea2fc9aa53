from __future__ import annotations

from api.live.rates import MOST_SAMPLES, Rates
from common.events import JobUpdate
from common.job import JobState


def ended(
    job: int, *, started_at: float | None, at: float, state: JobState = JobState.SUCCEEDED
) -> JobUpdate:
    return JobUpdate(
        job=str(job), owner="o", state=state, sequence=2, model="a/b", at=at, started_at=started_at
    )


def test_nothing_is_known_of_a_model_that_has_ended_no_job() -> None:
    rates = Rates()
    rates.take(ended(0, started_at=None, at=5.0, state=JobState.CANCELED), 1)
    assert rates.seconds_per_job("a/b") is None


def test_in_a_queue_a_job_takes_what_lies_between_two_ends() -> None:
    """Each was started while the one before it ran: its own start says too much."""
    rates = Rates()
    for number in range(1, 50):
        rates.take(ended(number, started_at=2.0 * number - 3.5, at=2.0 * number), 1)
    assert abs((rates.seconds_per_job("a/b") or 0) - 2.0) < 0.05


def test_a_job_that_comes_alone_takes_what_it_ran() -> None:
    rates = Rates()
    rates.take(ended(1, started_at=100.0, at=103.0), 4)
    rates.take(ended(2, started_at=900.0, at=903.0), 4)
    assert rates.seconds_per_job("a/b") == 3.0


def test_two_workers_take_turns_and_each_needs_its_whole_time() -> None:
    rates = Rates()
    for number in range(1, 50):
        rates.take(ended(number, started_at=1.0 * number - 2.0, at=1.0 * number), 2)
    assert rates.seconds_per_job("a/b") == 2.0


def test_an_end_that_is_told_twice_counts_once() -> None:
    rates = Rates()
    for _ in range(3):
        rates.take(ended(1, started_at=100.0, at=103.0), 1)
    assert rates.seconds_per_job("a/b") == 3.0


def test_the_last_jobs_decide() -> None:
    rates = Rates()
    for number in range(MOST_SAMPLES * 2):
        seconds = 9.0 if number < MOST_SAMPLES else 1.0
        rates.take(ended(number, started_at=100.0 * number, at=100.0 * number + seconds), 1)
    assert rates.seconds_per_job("a/b") == 1.0
