"""What jobs do now, by what `updates` tells: which run where, how many end, and what fails."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from common.events import JobUpdate, WorkerHeartbeat
from common.job import JobState

MINUTE_SECONDS, HOUR_SECONDS = 60.0, 3600.0
_PARTS = 60  # into which such a span is divided
_DONE = (JobState.SUCCEEDED, JobState.FAILED)
_MOST_JOBS = 10_000  # that are remembered
_MOST_KINDS = 1_000  # of failures

T = TypeVar("T")


class Recent:
    """How many there were within the last `seconds`, to a sixtieth of that."""

    def __init__(self, seconds: float) -> None:
        self._width = seconds / _PARTS
        self._counts: Counter[int] = Counter()  # by number of the part

    def add(self, at: float) -> None:
        """One more, at this time."""
        self._counts[int(at / self._width)] += 1
        for past in [part for part in self._counts if part <= max(self._counts) - _PARTS]:
            del self._counts[past]

    def count(self, now: float) -> int:
        """Of the span that ends now."""
        first = int(now / self._width) - _PARTS
        return sum(number for part, number in self._counts.items() if part > first)


@dataclass(frozen=True, slots=True)
class Failed:
    """What one owner's jobs of one model failed of, with the same code, in the last hour."""

    owner: str
    model: str
    cause: str
    count: int
    last_at: float  # seconds since the epoch
    last_job: str


class _Run(NamedTuple):
    """An attempt that was told of."""

    owner: str
    worker: str
    started_at: float


class _Kind(NamedTuple):
    """Failures that count together."""

    owner: str
    model: str
    cause: str


class _Failures:
    """Those of one kind."""

    def __init__(self) -> None:
        self.recent = Recent(HOUR_SECONDS)
        self.last_at, self.last_job = 0.0, ""


class Activity:
    """Counts begin with this process: `since` says when."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.since = clock()
        self._runs: OrderedDict[str, _Run] = OrderedDict()  # by job
        self._ended: OrderedDict[str, None] = OrderedDict()  # jobs: one told twice counts once
        self._done: defaultdict[str, Recent] = defaultdict(lambda: Recent(MINUTE_SECONDS))
        self._failures: OrderedDict[_Kind, _Failures] = OrderedDict()  # the last one last

    def take(self, update: JobUpdate) -> None:
        """A job changed."""
        if update.job in self._ended:
            return
        before = self._runs.pop(update.job, None)
        if update.state.terminal:
            _remember(self._ended, update.job, None, _MOST_JOBS)
            self._end(update)
        elif update.state is JobState.PROCESSING and update.started_at is not None:
            worker = update.worker or (before.worker if before else "")
            run = _Run(update.owner, worker, update.started_at)
            _remember(self._runs, update.job, run, _MOST_JOBS)

    def running(self, workers: Iterable[WorkerHeartbeat]) -> dict[str, dict[str, str | None]]:
        """What each of the workers runs now: job and owner; None: nobody told of the job here.

        A heartbeat is up to ten seconds old; what began and ended since, the updates tell.
        """
        told: defaultdict[str, dict[str, _Run]] = defaultdict(dict)
        for job, run in self._runs.items():
            told[run.worker][job] = run
        now: dict[str, dict[str, str | None]] = {}
        for beat in workers:
            runs = told[beat.worker]
            jobs = [job for job in beat.running if job not in self._ended]
            jobs += [job for job, run in runs.items() if run.started_at >= beat.at]
            now[beat.worker] = {job: self._owner(job) for job in jobs}
        return now

    def done_last_minute(self, model: str) -> int:
        """Jobs that succeeded or failed."""
        return self._done[model].count(self._clock()) if model in self._done else 0

    def failed(self) -> list[Failed]:
        """Everyone's failures of the last hour, the latest kind first."""
        now = self._clock()
        return [
            Failed(*kind, count, seen.last_at, seen.last_job)
            for kind, seen in reversed(self._failures.items())
            if (count := seen.recent.count(now))
        ]

    def _end(self, update: JobUpdate) -> None:
        if update.state in _DONE:
            self._done[update.model].add(update.at)
        if update.state is JobState.FAILED:
            kind = _Kind(update.owner, update.model, update.error_code)
            seen = self._failures.pop(kind, None) or _Failures()
            seen.recent.add(update.at)
            seen.last_at, seen.last_job = update.at, update.job
            _remember(self._failures, kind, seen, _MOST_KINDS)

    def _owner(self, job: str) -> str | None:
        run = self._runs.get(job)
        return run.owner if run else None


K = TypeVar("K")


def _remember(kept: OrderedDict[K, T], key: K, what: T, most: int) -> None:
    kept[key] = what
    if len(kept) > most:
        kept.popitem(last=False)
