from __future__ import annotations

import msgspec
import pytest

from api.live.job_events import Stand, happened, stand_of
from common.job import Job, JobState, Output
from tests.ledger import new_job

OUTPUT = Output(text="a red circle")


def row(state: JobState, sequence: int, attempt: int = 1, **fields: object) -> Job:
    job = new_job(state=state, sequence=sequence, attempt=attempt)
    return msgspec.structs.replace(job, **fields)


WAITS = row(JobState.STARTING, 0, 0)
RUNS = row(JobState.PROCESSING, 1)
HALF = row(JobState.PROCESSING, 2, progress=0.5)
DONE = row(JobState.SUCCEEDED, 3, output=OUTPUT)
FAILED = row(JobState.FAILED, 3)


def test_each_row_is_told_by_what_changed() -> None:
    told, before = [], None
    for job in (WAITS, RUNS, HALF, DONE):
        told.append(happened(before, job))
        before = stand_of(job)
    assert told == [("progress",), ("start",), ("progress",), ("output", "completed")]


@pytest.mark.parametrize(
    ("before", "job", "names"),
    [
        (None, RUNS, ("start",)),
        (None, HALF, ("start", "progress")),
        (None, DONE, ("start", "output", "completed")),
        (None, row(JobState.CANCELED, 1, 0), ("completed",)),
        (stand_of(WAITS), DONE, ("start", "output", "completed")),
        (stand_of(RUNS), FAILED, ("completed",)),
        (stand_of(RUNS), row(JobState.STARTING, 2), ("progress",)),
        (stand_of(RUNS), row(JobState.PROCESSING, 3, 2), ("start",)),
        (Stand(0, None), RUNS, ("start",)),
        (Stand(1, None), HALF, ("progress",)),
        (Stand(2, None), DONE, ("output", "completed")),
    ],
)
def test_changes_that_came_fast_are_all_told(
    before: Stand | None, job: Job, names: tuple[str, ...]
) -> None:
    assert happened(before, job) == names


@pytest.mark.parametrize("job", [WAITS, RUNS, HALF, DONE])
def test_what_was_told_is_not_told_again(job: Job) -> None:
    assert happened(stand_of(job), job) == ()
    assert happened(Stand(9, None), job) == ()
