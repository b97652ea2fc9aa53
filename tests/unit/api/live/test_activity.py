from __future__ import annotations

from api.live.activity import HOUR_SECONDS, Activity, Recent
from common.events import JobUpdate, WorkerHeartbeat, WorkerState
from common.job import JobState


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def update(job: str, state: JobState, at: float, **fields: str | float) -> JobUpdate:
    told = {"owner": "ann", "model": "a/b", "started_at": at, **fields}
    return JobUpdate(job=job, state=state, sequence=1, at=at, **told)  # type: ignore[arg-type]


def beat(at: float, *running: str) -> WorkerHeartbeat:
    return WorkerHeartbeat(
        worker="w", model="a/b", state=WorkerState.READY, at=at, host="h", pid=1, running=running
    )


def test_what_is_older_than_the_span_is_not_counted() -> None:
    recent = Recent(60.0)
    for at in (100.0, 130.0, 159.0):
        recent.add(at)
    assert [recent.count(now) for now in (159.5, 161.0, 200.0, 300.0)] == [3, 2, 1, 0]


def test_a_job_that_began_after_the_last_heartbeat_runs_and_one_that_ended_does_not() -> None:
    activity = Activity(clock=Clock())
    last = beat(10.0, "old")
    assert activity.running([last]) == {"w": {"old": None}}  # nobody told whose it is
    activity.take(update("old", JobState.SUCCEEDED, 11.0))
    activity.take(update("new", JobState.PROCESSING, 12.0, worker="w"))
    assert activity.running([last]) == {"w": {"new": "ann"}}


def test_a_heartbeat_corrects_what_an_update_that_was_lost_left() -> None:
    activity = Activity(clock=Clock())
    activity.take(update("a", JobState.PROCESSING, 12.0, worker="w"))
    assert activity.running([beat(20.0, "a")]) == {"w": {"a": "ann"}}
    assert activity.running([beat(30.0)]) == {"w": {}}


def test_progress_that_does_not_name_the_worker_leaves_the_job_there() -> None:
    activity = Activity(clock=Clock())
    activity.take(update("a", JobState.PROCESSING, 12.0, worker="w"))
    activity.take(update("a", JobState.PROCESSING, 12.0))
    assert activity.running([beat(10.0)]) == {"w": {"a": "ann"}}


def test_a_job_that_was_released_runs_nowhere() -> None:
    activity = Activity(clock=Clock())
    activity.take(update("a", JobState.PROCESSING, 12.0, worker="w"))
    activity.take(update("a", JobState.STARTING, 12.0))
    assert activity.running([beat(10.0)]) == {"w": {}}


def test_ends_count_once_however_often_they_are_told_and_cancellations_do_not() -> None:
    clock = Clock()
    activity = Activity(clock=clock)
    for _ in range(2):
        activity.take(update("a", JobState.SUCCEEDED, clock.now))
        activity.take(update("b", JobState.FAILED, clock.now, error_code="bad_input"))
        activity.take(update("c", JobState.CANCELED, clock.now, error_code="canceled"))
    assert activity.done_last_minute("a/b") == 2
    assert [(each.cause, each.count) for each in activity.failed()] == [("bad_input", 1)]
    assert activity.done_last_minute("other/model") == 0


def test_failures_are_kept_apart_by_owner_and_cause_and_forgotten_after_an_hour() -> None:
    clock = Clock()
    activity = Activity(clock=clock)
    for job, fields in enumerate(({}, {"owner": "bob"}, {"error_code": "oom"}, {})):
        told = {"error_code": "bad_input", **fields}
        activity.take(update(str(job), JobState.FAILED, clock.now + job, **told))
    assert [(each.owner, each.cause, each.count, each.last_job) for each in activity.failed()] == [
        ("ann", "bad_input", 2, "3"),
        ("ann", "oom", 1, "2"),
        ("bob", "bad_input", 1, "1"),
    ]
    clock.now += HOUR_SECONDS + 120
    assert activity.failed() == []
