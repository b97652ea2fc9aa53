"""Requests that wait for their job to end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from api.live.watching import Watch, Watching
from common.job import Job


class Waiters:
    """Those of all who watch that want the end alone."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching

    @contextmanager
    def expect(self, job_id: str) -> Iterator[Watch]:
        """Watch for the job's end. Enter before the job is committed."""
        with self._watching.job(job_id, ends_only=True) as watch:
            yield watch

    async def ended(self, job: Job, watch: Watch, seconds: float) -> Job:
        """The job once it has ended, or `job` itself if that takes longer than `seconds`."""
        if job.state.terminal:
            return job
        deadline = time.monotonic() + seconds
        while not self._watching.leaving and (left := deadline - time.monotonic()) > 0:
            for change in await watch.next(left):
                if change.job.state.terminal:
                    return change.job
        return job
