"""Which events a job's row stands for, after the row before it. Pure."""

from __future__ import annotations

from typing import NamedTuple

from common.job import Job, JobState


class Stand(NamedTuple):
    """How far a job was when it was told last."""

    sequence: int
    attempt: int | None  # None: told elsewhere, up to `sequence`


def stand_of(job: Job) -> Stand:
    """Of a row that is told now."""
    return Stand(job.sequence, job.attempt)


def happened(before: Stand | None, job: Job) -> tuple[str, ...]:
    """The names of what happened since; of the row itself where nothing was told before.

    Rows come one for several changes when those come fast: an end then tells the start, too. A job
    that waits is shown as `progress`: what moves is its place in the queue.
    """
    if before is not None and job.sequence <= before.sequence:
        return ()
    names = ("start",) if _starts(before, job) else ()
    if job.state.terminal:
        return (*names, *(("output",) if job.output is not None else ()), "completed")
    if job.state is JobState.PROCESSING and (names and job.progress is None):
        return names
    return (*names, "progress")


def _starts(before: Stand | None, job: Job) -> bool:
    if before is None or before.sequence == 0:
        return job.attempt > 0
    return before.attempt is not None and job.attempt > before.attempt
