"""What users do, as rules: they send jobs, again too, retry and cancel them."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule
from sqlalchemy import Row

from common.job import Job, JobSpec
from tests.faults.interleavings.promise import Promise
from tests.faults.interleavings.world import MODEL, Append, World
from tests.ledger import new_job

T = TypeVar("T")
APPENDS = st.sampled_from(Append)
LIMITS = st.one_of(st.none(), st.sampled_from([1.0, 5.0, 60.0]))  # seconds
JOBS: Bundle[Job] = Bundle("jobs")


class Clock:
    """`time.time`, for all parts alike. It passes by hand, and never stands still."""

    def __init__(self) -> None:
        self._now, self._ticks = 1_800_000_000.0, itertools.count(1)

    def __call__(self) -> float:
        return self._now + next(self._ticks) * 1e-6

    def passes(self, seconds: float) -> None:
        self._now += seconds


class Users(RuleBasedStateMachine):
    """One Darkroom, and what its users were promised."""

    ledger: Callable[[Path], str]  # makes the URL of an empty one, or of one to be emptied
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="interleavings-"))
        self.runner = asyncio.Runner()
        self.world = self.do(World.open(type(self).ledger(self.folder), self.folder))
        self.promised: dict[str, Promise] = {}
        self.made: dict[str, Job] = {}
        self.before: dict[str, Row[Any]] = {}  # each job as its user saw it last
        self.to_tell: set[str] = set()  # ended by an event that is on today's log
        self.told: set[str] = set()  # jobs whose end was on `updates`

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize(target=JOBS, append=APPENDS)
    def begin(self, append: Append) -> Job:
        return self.accept(append)

    @rule(target=JOBS, append=APPENDS, start_by=LIMITS, cancel_after=LIMITS)
    def submit(self, append: Append, start_by: float | None, cancel_after: float | None) -> Job:
        return self.accept(append, start_by, cancel_after)

    def accept(
        self,
        append: Append,
        start_by: float | None = None,
        cancel_after: float | None = None,
        retry_of: str | None = None,
    ) -> Job:
        now = time.time()
        job = new_job(
            id=f"00000000-0000-7000-8000-{len(self.made):012}",
            spec=JobSpec(model=MODEL, start_by=None if start_by is None else now + start_by),
            cancel_at=None if cancel_after is None else now + cancel_after,
            webhook="https://example.com/hook",
            webhook_events=("start", "completed"),
            retry_of=retry_of,
        )
        self.do(self.world.submit(job, append))
        self.promised[job.id], self.made[job.id] = Promise(), job
        return job

    @rule(job=JOBS)
    def send_again(self, job: Job) -> None:
        shown = self.do(self.world.submit(job, Append.LANDS, again=True))
        assert shown.state is self.promised[job.id].state

    @rule(target=JOBS, job=JOBS, append=APPENDS)
    def retry(self, job: Job, append: Append) -> Any:
        if self.promised[job.id].end is None:
            return multiple()
        return self.accept(append, retry_of=job.id)

    @rule(job=JOBS)
    def cancel(self, job: Job) -> None:
        shown = self.do(self.world.cancel(job.id))
        assert shown is not None
        self.promised[job.id].stop("canceled")
        assert shown.state is self.promised[job.id].state
