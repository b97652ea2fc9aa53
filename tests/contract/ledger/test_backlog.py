"""Jobs that wait, counted without counting rows when somebody asks."""

from __future__ import annotations

import pytest

from api.access.backlog import Backlog, kind_of
from api.database import sweeping
from api.database.accepting import Accepting
from api.database.database import Database
from common.events import JobUpdate
from common.job import JobSpec, JobState, Priority
from tests.ledger import new_job, the_job

pytestmark = pytest.mark.anyio


def update(job_id: str, state: JobState) -> JobUpdate:
    return JobUpdate(job=job_id, owner="local", state=state, sequence=1)


async def test_what_waited_before_is_counted_at_the_start(
    database: Database, accepting: Accepting
) -> None:
    for owner, model in (("ann", "a/x"), ("ann", "a/y"), ("bob", "a/x")):
        await accepting.accept(new_job(owner=owner, model=model))
    ended = new_job(owner="ann", state=JobState.CANCELED, completed_at=5.0)
    await accepting.accept(ended)
    backlog = Backlog(database)
    await backlog.start()
    await backlog.close()

    assert backlog.total == 3
    assert (backlog.of_owner("ann"), backlog.of_owner("bob"), backlog.of_owner("eve")) == (2, 1, 0)
    assert (backlog.of_model("a/x"), backlog.of_model("a/y")) == (2, 1)
    assert backlog.models("bob") == {"a/x"}
    assert backlog.models() == {"a/x", "a/y"}


async def test_a_job_counts_from_its_acceptance_and_once(
    database: Database, accepting: Accepting
) -> None:
    backlog, job = Backlog(database), new_job()
    with backlog.adding(job):
        assert backlog.of(kind_of(job)) == 1
        await accepting.accept(job)
    assert backlog.total == 1
    await backlog.count()
    assert (backlog.total, backlog.of(kind_of(job))) == (1, 1)


async def test_a_job_that_is_refused_does_not_count(database: Database) -> None:
    backlog = Backlog(database)
    with pytest.raises(ValueError, match="no"), backlog.adding(new_job()):
        raise ValueError("no")
    assert backlog.total == 0


async def test_one_id_sent_twice_at_once_counts_once(database: Database) -> None:
    backlog, job = Backlog(database), new_job()
    with backlog.adding(job), backlog.adding(job):
        assert backlog.total == 1
    await backlog.count()
    assert backlog.total == 0


async def test_a_count_in_between_keeps_what_is_not_committed_yet(database: Database) -> None:
    backlog = Backlog(database)
    with backlog.adding(new_job()):
        await backlog.count()
        assert backlog.total == 1


async def test_a_job_that_starts_or_ends_waits_no_longer(
    database: Database, accepting: Accepting
) -> None:
    backlog = Backlog(database)
    for state in (JobState.STARTING, JobState.PROCESSING, JobState.CANCELED):
        job = new_job()
        with backlog.adding(job):
            await accepting.accept(job)
        backlog.take(update(job.id, state))
        backlog.take(update(job.id, state))
    assert backlog.total == 1  # one was released, and waits again


async def test_a_job_keeps_its_lane_and_its_priority(
    database: Database, accepting: Accepting
) -> None:
    spec = JobSpec(model="darkroom/echo", priority=Priority.HIGH)
    lowered, plain = new_job(spec=spec, lane=Priority.LOW), new_job(spec=spec)
    for job in (lowered, plain):
        await accepting.accept(job)

    assert (await the_job(database, lowered.id)) == lowered
    async with database.read() as connection:
        carried = await sweeping.specs(connection, [lowered.id, plain.id])
    assert carried[lowered.id] == (spec, Priority.LOW, None)
    assert carried[plain.id] == (spec, Priority.HIGH, None)
