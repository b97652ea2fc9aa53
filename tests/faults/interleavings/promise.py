"""What a user may see of one job, whatever happens behind it: the model of the property test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from common.events import JobCanceled, JobEvent, JobFailed, JobReleased, JobStarted, JobSucceeded
from common.job import JobState

MOST_LOST = 5  # starts, before a job is taken to kill whoever touches it


class End(NamedTuple):
    """How a job ended, and by which attempt."""

    state: JobState
    code: str | None = None
    token: str | None = None


@dataclass
class Promise:
    """A job that was accepted. It ends once, by the first end that reaches the ledger."""

    end: End | None = None
    running: str | None = None  # token of the latest attempt, unless it was released
    lost: dict[str, bool] = field(default_factory=dict)  # by token; False: it was released

    def hear(self, event: JobEvent) -> None:
        """The ledger took this event."""
        if self.end is not None:
            return
        if isinstance(event, JobStarted) and event.token not in self.lost:
            if sum(self.lost.values()) >= MOST_LOST:
                self.end = End(JobState.FAILED, "consumer_lost")
            self.lost[event.token], self.running = True, event.token
        elif isinstance(event, JobReleased) and event.token in self.lost:
            self.lost[event.token] = False
            self.running = None if self.running == event.token else self.running
        elif isinstance(event, JobSucceeded):
            self.end = End(JobState.SUCCEEDED, None, event.token)
        elif isinstance(event, JobFailed | JobCanceled):
            state = JobState.FAILED if isinstance(event, JobFailed) else JobState.CANCELED
            self.end = End(state, event.code, event.token)

    def stop(self, code: str) -> None:
        """Its user, or the clock, canceled it."""
        self.end = self.end or End(JobState.CANCELED, code)

    @property
    def state(self) -> JobState:
        """What its user may read of it now."""
        if self.end is not None:
            return self.end.state
        return JobState.STARTING if self.running is None else JobState.PROCESSING
