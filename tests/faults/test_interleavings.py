"""Whatever happens between the ledger, the log and the recorder, a user sees what was promised.

Hypothesis chooses what happens, and in which order. `pytest --hypothesis-profile=soak` looks at
far more of it, at random.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Row

from api import sweeper
from api.database.database import Database
from common.errors import LogUnavailable
from common.events import (
    JobCanceled,
    JobFailed,
    JobProgress,
    JobReleased,
    JobStarted,
    JobSucceeded,
)
from common.job import Job, JobSpec, JobState, Output
from common.job_log import Delivery, Position, Subscription
from tests.faults.interleavings.cuts import Cut
from tests.faults.interleavings.promise import Promise
from tests.faults.interleavings.world import MODEL, Append, World
from tests.ledger import fresh_postgres, new_job

T = TypeVar("T")
APPENDS = st.sampled_from(Append)
LIMITS = st.one_of(st.none(), st.sampled_from([1.0, 5.0, 60.0]))  # seconds
ALL = 1000


class Attempt(NamedTuple):
    """One delivery in the hands of one consumer, or of what is left of it."""

    job: str
    token: str
    by: Subscription
    delivery: Delivery


class Clock:
    """`time.time`, for all parts alike. It passes by hand, and never stands still."""

    def __init__(self) -> None:
        self._now, self._ticks = 1_800_000_000.0, itertools.count(1)

    def __call__(self) -> float:
        return self._now + next(self._ticks) * 1e-6

    def passes(self, seconds: float) -> None:
        self._now += seconds


class Interleavings(RuleBasedStateMachine):
    """Rules are what may happen; the invariant is what a user may see of it."""

    jobs: Bundle[Job] = Bundle("jobs")
    attempts: Bundle[Attempt] = Bundle("attempts")
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
        self.tokens = itertools.count(1)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    # What users do.

    @initialize(target=jobs, append=APPENDS)
    def begin(self, append: Append) -> Job:
        return self.accept(append)

    @rule(target=jobs, append=APPENDS, start_by=LIMITS, cancel_after=LIMITS)
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

    @rule(job=jobs)
    def send_again(self, job: Job) -> None:
        shown = self.do(self.world.submit(job, Append.LANDS, again=True))
        assert shown.state is self.promised[job.id].state

    @rule(target=jobs, job=jobs, append=APPENDS)
    def retry(self, job: Job, append: Append) -> Any:
        if self.promised[job.id].end is None:
            return multiple()
        return self.accept(append, retry_of=job.id)

    @rule(job=jobs)
    def cancel(self, job: Job) -> None:
        shown = self.do(self.world.cancel(job.id))
        assert shown is not None
        self.promised[job.id].stop("canceled")
        assert shown.state is self.promised[job.id].state

    # What consumers do, the dead ones too.

    @rule(target=attempts, most=st.integers(1, 3))
    def deliver(self, most: int) -> Any:
        by, found = self.do(self.world.take(most))
        return multiple(*(self.attempt(by, delivery) for delivery in found))

    def attempt(self, by: Subscription, delivery: Delivery) -> Attempt:
        return Attempt(delivery.key, f"t{next(self.tokens)}", by, delivery)

    @rule(attempt=attempts)
    def start(self, attempt: Attempt) -> None:
        at = time.time()
        event = JobStarted(job=attempt.job, token=attempt.token, at=at, worker="w")
        self.do(self.world.say(event))

    @rule(attempt=attempts, fraction=st.sampled_from([0.2, 0.7]))
    def progress(self, attempt: Attempt, fraction: float) -> None:
        at = time.time()
        event = JobProgress(job=attempt.job, token=attempt.token, at=at, fraction=fraction)
        self.do(self.world.say(event))

    @rule(attempt=attempts)
    def release(self, attempt: Attempt) -> None:
        event = JobReleased(job=attempt.job, token=attempt.token, at=time.time(), reason="stopped")
        self.do(self.world.say(event))
        self.do(self.world.release(attempt.by, attempt.delivery))

    @rule(
        attempt=attempts,
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

    @rule(job=jobs, starts=st.integers(2, 6))
    def is_started_by_consumers_that_die(self, job: Job, starts: int) -> None:
        for _ in range(starts):
            token = f"t{next(self.tokens)}"
            event = JobStarted(job=job.id, token=token, at=time.time(), worker="w")
            self.do(self.world.say(event))

    @rule()
    def kill_consumer(self) -> None:
        self.do(self.world.kill_consumer())

    # What Darkroom does, and what happens to it.

    @rule(most=st.sampled_from([1, 3, ALL]), at_once=st.sampled_from([1, 1, 2, 6]))
    def record(self, most: int, at_once: int) -> None:
        self.hear(self.do(self.world.record(Cut.NOWHERE, most, at_once)))

    @rule(cut=st.sampled_from(Cut), most=st.integers(1, 6))
    def record_until_it_is_cut_off(self, cut: Cut, most: int) -> None:
        self.hear(self.do(self.world.record(cut, most, most)))

    @rule()
    def resume_recorder(self) -> None:
        self.hear(self.do(self.world.resume_recorder()))

    @rule()
    def kill_recorder(self) -> None:
        self.do(self.world.kill_recorder())

    def hear(self, events: list[Any]) -> None:
        for event in events:
            promise = self.promised[event.job]
            ended_before = promise.end is not None
            promise.hear(event)
            if promise.end is not None and not ended_before:
                self.to_tell.add(event.job)

    @rule(seconds=st.sampled_from([0.5, 3.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.passes(seconds)

    @rule()
    def expire(self) -> None:
        """What was done in time counts, though nobody recorded it yet."""
        now = time.time()
        self.do(self.world.deadlines.round())
        for id, row in self.do(self.world.rows()).items():
            promise, job = self.promised[id], self.made[id]
            if promise.end is not None or row.state != JobState.CANCELED:
                continue
            started = row.error_code == "deadline_passed"
            due = job.spec.start_by if started else job.cancel_at
            kinds = JobStarted if started else JobSucceeded | JobFailed | JobCanceled
            assert due is not None
            assert due < now + 1
            assert not started or not promise.lost
            said = self.world.said.values()
            assert not any(e.job == id and isinstance(e, kinds) and e.at < due for e in said)
            promise.stop(row.error_code)

    @rule(append=APPENDS)
    def sweep(self, append: Append) -> None:
        self.do(self.sweeps(append))

    async def sweeps(self, append: Append) -> int:
        """What waits in the log, or is worked on, is left alone."""
        count = 0
        try:
            async for gone in self.world.sweeper.gone():
                rows = await self.world.rows()
                for id in gone:
                    row = rows[id]
                    at = Position(row.log_topic, row.log_partition, row.log_offset)
                    assert at not in self.world.log.copies[id], "it is appended though it waits"
                    assert not self.world.end_waits(id), "it is appended though it was done"
                self.world.log.append_as = append
                count += len(gone)
                await self.world.sweeper.append(gone)
        except (sweeper.RecorderBehind, LogUnavailable):
            pass
        return count

    @rule()
    @precondition(lambda self: len(self.world.said) > 0)
    def wipe(self) -> None:
        self.do(self.world.wipe())
        self.to_tell.clear()

    # What a user may see.

    @invariant()
    def nothing_but_what_was_promised(self) -> None:
        rows = self.do(self.world.rows())
        assert rows.keys() == self.promised.keys(), "a job is lost, or came from nowhere"
        for id, promise in self.promised.items():
            row, before, end = rows[id], self.before.get(id), promise.end
            assert row.state == promise.state
            if end is not None:
                assert (row.state, row.error_code, row.token) == end
            succeeded = promise.state is JobState.SUCCEEDED
            assert row.output == (f'{{"text":"of {row.token}","files":[]}}' if succeeded else None)
            assert (row.completed_at is None) == (end is None)
            if before is not None:
                assert row.sequence >= before.sequence
                assert row.attempt >= before.attempt
                assert row.sequence > before.sequence or _shown(row) == _shown(before)
                assert before.completed_at is None or _shown(row) == _shown(before)
        self.before = rows
        for update in self.do(self.world.updates()):
            assert update.sequence <= rows[update.job].sequence
            if update.state.terminal:
                assert update.state == rows[update.job].state
                self.told.add(update.job)

    def teardown(self) -> None:
        try:
            if self.promised:
                self.quiesce()
        finally:
            self.do(self.world.close())
            self.runner.close()
            shutil.rmtree(self.folder)

    def quiesce(self) -> None:
        """Once nothing happens any more, every job ends, and all of it is told."""
        self.kill_recorder()
        self.kill_consumer()
        self.time_passes(60.0)
        self.expire()
        self.sweep(Append.LANDS)
        for _ in range(5):
            self.hear(self.do(self.world.record(Cut.NOWHERE, ALL, 3)))
            self.nothing_but_what_was_promised()
            self.time_passes(60.0)
            self.expire()
            self.sweep(Append.LANDS)
            while found := self.do(self.world.take(ALL))[1]:
                assert self.world.consumer is not None
                for delivery in found:
                    attempt = self.attempt(self.world.consumer, delivery)
                    self.start(attempt)
                    self.finish(attempt, "succeeds", 1, acknowledges=True)
        self.hear(self.do(self.world.record(Cut.NOWHERE, ALL, ALL)))
        self.nothing_but_what_was_promised()
        assert self.do(self.sweeps(Append.LANDS)) == 0
        for promise in self.promised.values():
            assert promise.end is not None, "it never ends"
        assert self.to_tell <= self.told
        expected = [f"{id}_completed" for id in self.promised]
        expected += [f"{id}_start" for id, promise in self.promised.items() if promise.lost]
        assert sorted(self.do(self.world.webhooks())) == sorted(expected)


def _shown(row: Row[Any]) -> dict[str, Any]:
    """The columns that a user sees something of."""
    hidden = {"log_topic", "log_partition", "log_offset", "appended_at"}
    return {name: value for name, value in row._mapping.items() if name not in hidden}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", clock)
        patch.setattr(sweeper, "RECORDER_SECONDS", 0.05)  # nothing is recorded beside a round
        yield clock


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Path], str]:
    """Makes the URL of a ledger for each example."""
    if request.param == "postgres":
        url = request.getfixturevalue("servers")["DARKROOM_DATABASE_URL"]
        fresh = asyncio.run(fresh_postgres(url))
        return lambda _: fresh
    template = tmp_path / "ledger.sqlite"

    async def migrate() -> None:
        await (await Database.open(f"sqlite+aiosqlite:///{template}")).close()

    asyncio.run(migrate())

    def copy(folder: Path) -> str:
        shutil.copy(template, folder)
        return f"sqlite+aiosqlite:///{folder}/{template.name}"

    return copy


@pytest.mark.timeout(7200)  # the soak's; and a failing example takes minutes to be made short
def test_a_user_sees_what_was_promised_whatever_happens_behind_it(
    ledger: Callable[[Path], str], clock: Clock
) -> None:
    machine = type("Machine", (Interleavings,), {"ledger": staticmethod(ledger), "clock": clock})
    chosen = settings(print_blob=True)
    if settings.get_current_profile_name() != "soak":
        # The same examples each time, and no time spent on making a failing one short.
        chosen = settings(
            max_examples=30, stateful_step_count=40, derandomize=True, phases=[Phase.generate]
        )
    quiet = settings(chosen, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine, settings=quiet)
