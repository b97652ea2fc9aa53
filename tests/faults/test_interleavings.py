"""Whatever happens between the ledger, the log and the recorder, a user sees what was promised.

Hypothesis chooses what happens, and in which order. `SOAK=1 pytest` looks at
far more of it, at random.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import Row

from api import sweeper
from api.database.database import Database
from common.errors import LogUnavailable
from common.events import JobCanceled, JobFailed, JobReleased, JobStarted, JobSucceeded
from common.job import Job, JobState
from common.job_log import Position
from tests.faults.interleavings.consuming import Consumers
from tests.faults.interleavings.cuts import Cut
from tests.faults.interleavings.users import APPENDS, JOBS, Clock
from tests.faults.interleavings.world import Append
from tests.ledger import fresh_postgres

ALL = 1000


class Interleavings(Consumers):
    """What Darkroom does, and what happens to it; the invariant is what a user may see of it."""

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

    @rule(job=JOBS, at_once=st.sampled_from([1, 2, 3]))
    def is_released_by_one_after_another_started_it(self, job: Job, at_once: int) -> None:
        """The first was thought dead, and says late that it stops: the other works on."""
        first, second = f"t{next(self.tokens)}", f"t{next(self.tokens)}"
        at = time.time()
        for event in (
            JobStarted(job=job.id, token=first, at=at, worker="w"),
            JobStarted(job=job.id, token=second, at=at, worker="w"),
            JobReleased(job=job.id, token=first, at=at, reason="stopped"),
        ):
            self.do(self.world.say(event))
        self.record(ALL, at_once)

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
            max_examples=16, stateful_step_count=40, derandomize=True, phases=[Phase.generate]
        )
    quiet = settings(chosen, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine, settings=quiet)
