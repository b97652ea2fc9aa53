"""What consumers do, as rules: the dead ones too, which may still say something later."""

from __future__ import annotations

import itertools
import time
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, multiple, rule

from common.events import (
    JobCanceled,
    JobFailed,
    JobProgress,
    JobReleased,
    JobStarted,
    JobSucceeded,
)
from common.job import Job, Output
from common.job_log import Delivery, Subscription
from tests.faults.interleavings.users import JOBS, Users


class Attempt(NamedTuple):
    """One delivery in the hands of one consumer, or of what is left of it."""

    job: str
    token: str
    by: Subscription
    delivery: Delivery


ATTEMPTS: Bundle[Attempt] = Bundle("attempts")


class Consumers(Users):
    """One that lives, and what is left of those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = itertools.count(1)

    @rule(target=ATTEMPTS, most=st.integers(1, 3))
    def deliver(self, most: int) -> Any:
        by, found = self.do(self.world.take(most))
        return multiple(*(self.attempt(by, delivery) for delivery in found))

    def attempt(self, by: Subscription, delivery: Delivery) -> Attempt:
        return Attempt(delivery.key, f"t{next(self.tokens)}", by, delivery)

    @rule(attempt=ATTEMPTS)
    def start(self, attempt: Attempt) -> None:
        at = time.time()
        event = JobStarted(job=attempt.job, token=attempt.token, at=at, worker="w")
        self.do(self.world.say(event))

    @rule(attempt=ATTEMPTS, fraction=st.sampled_from([0.2, 0.7]))
    def progress(self, attempt: Attempt, fraction: float) -> None:
        at = time.time()
        event = JobProgress(job=attempt.job, token=attempt.token, at=at, fraction=fraction)
        self.do(self.world.say(event))

    @rule(attempt=ATTEMPTS)
    def release(self, attempt: Attempt) -> None:
        event = JobReleased(job=attempt.job, token=attempt.token, at=time.time(), reason="stopped")
        self.do(self.world.say(event))
        self.do(self.world.release(attempt.by, attempt.delivery))

    @rule(
        attempt=ATTEMPTS,
        how=st.sampled_from(["succeeds", "fails", "stops"]),
        times=st.sampled_from([1, 1, 2]),
        acknowledges=st.sampled_from([True, True, False]),
    )
    def finish(self, attempt: Attempt, how: str, times: int, acknowledges: bool) -> None:
        job, token, at = attempt.job, attempt.token, time.time()
        event: JobSucceeded | JobFailed | JobCanceled
        if how == "succeeds":
            output = Output(text=f"of {token}")
            event = JobSucceeded(job=job, token=token, at=at, output=output, predict_time=0.1)
        elif how == "fails":
            event = JobFailed(job=job, token=token, at=at, code="engine_crashed", error="It died.")
        else:
            event = JobCanceled(job=job, token=token, at=at)
        for _ in range(times):
            self.do(self.world.say(event))
        if acknowledges:
            self.do(self.world.acknowledge(attempt.by, attempt.delivery))

    @rule(job=JOBS, starts=st.integers(2, 6))
    def is_started_by_consumers_that_die(self, job: Job, starts: int) -> None:
        for _ in range(starts):
            token = f"t{next(self.tokens)}"
            event = JobStarted(job=job.id, token=token, at=time.time(), worker="w")
            self.do(self.world.say(event))

    @rule()
    def kill_consumer(self) -> None:
        self.do(self.world.kill_consumer())
