"""What an event does to a job that stands somewhere. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from api.database.ending import End
from common.events import (
    DEADLINE_PASSED,
    JobEnd,
    JobEvent,
    JobFailed,
    JobProgress,
    JobReleased,
    JobStarted,
    JobSucceeded,
    JobUpdate,
)
from common.job import JobState

MOST_LOST_STARTS = 5
_WHY_CANCELED = {DEADLINE_PASSED: "Its start_by passed before its work could begin."}


@dataclass(slots=True)
class Attempt:
    """One start of a job by a worker."""

    worker: str
    started_at: float
    released: bool = False


@dataclass(slots=True, kw_only=True)
class Standing:
    """A job as the events of one batch find it and change it."""

    job: str
    owner: str
    model: str
    state: JobState
    sequence: int
    attempt: int
    token: str | None
    started_at: float | None
    progress: float | None
    start_heard: bool = False  # whether a webhook tells of its start
    attempts: dict[str, Attempt] = field(default_factory=dict)

    end: End | None = None  # to be given to `ending.end`; it changes nothing here by itself
    at: float = 0.0  # of the last event; 0 before there was one
    touched: set[str] = field(default_factory=set)  # tokens of attempts that are new or changed
    moved: bool = False  # whether there is something to write but the end
    stray_start: bool = False  # work goes on that nobody wants: it should be canceled

    @property
    def update(self) -> JobUpdate:
        running = self.attempts.get(self.token or "")  # those that were read, and new ones
        return JobUpdate(
            job=self.job,
            owner=self.owner,
            state=self.state,
            sequence=self.sequence,
            model=self.model,
            at=self.at,
            started_at=self.started_at,
            progress=self.progress,
            worker=running.worker if running else "",
        )

    def take(self, event: JobEvent) -> None:
        """Apply one event. One that was applied before changes nothing."""
        self.at = event.at
        if self.end is not None or self.state.terminal:
            self._take_after_end(event)
        elif isinstance(event, JobStarted):
            self._start(event)
        elif isinstance(event, JobReleased):
            self._release(event)
        elif isinstance(event, JobProgress):
            self._progress(event)
        else:
            self.end = end_of(event)

    def _take_after_end(self, event: JobEvent) -> None:
        """Late starts are told to stop; the start of the winner, come again, is none of them."""
        winner = self.token if self.end is None else self.end.token
        if isinstance(event, JobStarted) and event.token != winner:
            self.stray_start = True

    def _start(self, event: JobStarted) -> None:
        """A start is lost when a newer one of the same job arrives before its end or release.

        With five lost ones the job is ended, and the newer start is told to stop.
        """
        if event.token in self.attempts:
            return
        lost = sum(not attempt.released for attempt in self.attempts.values())
        self.attempts[event.token] = Attempt(event.worker, event.at)
        self.touched.add(event.token)
        if lost >= MOST_LOST_STARTS:
            self.stray_start = True
            self.end = End(
                state=JobState.FAILED,
                at=event.at,
                error_code="consumer_lost",
                error=f"{lost} consumers started this job and were lost while they worked on it.",
            )
            return
        self.attempt += 1
        self.token, self.started_at = event.token, event.at
        self._move(JobState.PROCESSING, None)

    def _release(self, event: JobReleased) -> None:
        attempt = self.attempts.get(event.token)
        if attempt is None or attempt.released:
            return
        attempt.released = True
        self.touched.add(event.token)
        if event.token == self.token:
            self.token = None
            self._move(JobState.STARTING, None)

    def _progress(self, event: JobProgress) -> None:
        fraction = min(max(event.fraction, 0.0), 1.0)
        if event.token == self.token and (self.progress is None or fraction > self.progress):
            self._move(self.state, fraction)

    def _move(self, state: JobState, progress: float | None) -> None:
        self.state, self.progress = state, progress
        self.sequence += 1
        self.moved = True


def end_of(event: JobEnd) -> End:
    """How the event ends its job."""
    if isinstance(event, JobSucceeded):
        return End(
            state=JobState.SUCCEEDED,
            at=event.at,
            token=event.token,
            output=event.output,
            predict_time=event.predict_time,
            logs=event.logs,
        )
    if isinstance(event, JobFailed):
        return End(
            state=JobState.FAILED,
            at=event.at,
            token=event.token,
            error=event.error,
            error_code=event.code,
            logs=event.logs,
        )
    return End(
        state=JobState.CANCELED,
        at=event.at,
        token=event.token,
        error=_WHY_CANCELED.get(event.code, "The job was canceled."),
        error_code=event.code,
    )
