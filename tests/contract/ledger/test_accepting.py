"""Accepting jobs: durable, together, and each on its own merits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import func, select

from api.database import accepting as accepting_module
from api.database.accepting import Accepting
from api.database.claims import Earlier
from api.database.database import Database
from api.database.errors import DataError
from api.database.rows import label_rows, row_of
from api.database.tables import job_labels, jobs
from common.errors import LedgerUnavailable
from common.job import Job, JobSpec, JobState, Output, OutputFile, Priority
from common.job_log import Position
from tests.ledger import new_job, the_job, until

pytestmark = pytest.mark.anyio


async def test_a_job_comes_back_as_it_was_accepted(
    database: Database, accepting: Accepting
) -> None:
    job = new_job(
        owner="tenant-ä",
        spec=JobSpec(
            model="org/model_1.5",
            priority=Priority.HIGH,
            parameters={"prompt": "naïve 🦊\n", "steps": 4, "strength": 0.1, "x": None, "b": True},
            inputs={"image": "inputs/a", "mask": "inputs/b"},
        ),
        version="89b09ea1a789",
        created_at=1_795_000_000.123456,
        state=JobState.SUCCEEDED,
        sequence=7,
        attempt=2,
        progress=0.25,
        started_at=1_795_000_001.1,
        completed_at=1_795_000_002.2,
        predict_time=0.333333333333,
        output=Output(
            text="a red circle",
            files=(OutputFile(key="outputs/a/b/0.png", content_type="image/png", size=12),),
        ),
        error="a sentence",
        error_code="a_code",
        logs="line\nline",
        labels=("first", "zweites", "first"),
        metadata={"nested": {"list": [1, 2.5, None, "x"]}, "big": 2**62},
        group_id="group",
    )
    await accepting.accept(job)
    assert await the_job(database, job.id) == job


async def test_a_plain_job_comes_back_as_it_was_accepted(
    database: Database, accepting: Accepting
) -> None:
    job = new_job()
    await accepting.accept(job)
    assert await the_job(database, job.id) == job


async def test_two_hundred_jobs_at_once_are_all_there(
    database: Database, accepting: Accepting
) -> None:
    jobs_at_once = [new_job(labels=("bulk",)) for _ in range(200)]
    await asyncio.gather(*(accepting.accept(job) for job in jobs_at_once))
    async with database.read() as connection:
        assert set(await connection.scalars(select(jobs.c.id))) == {job.id for job in jobs_at_once}
        assert await connection.scalar(select(func.count()).select_from(job_labels)) == 200


async def test_two_processes_accept_at_once(database: Database, ledger_url: str) -> None:
    others = [await Database.open(ledger_url) for _ in range(3)]
    takers = [Accepting(other) for other in others]
    many = [new_job() for _ in range(120)]
    await asyncio.gather(*(takers[i % 3].accept(job) for i, job in enumerate(many)))
    async with database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(jobs)) == len(many)
    for taker, other in zip(takers, others, strict=True):
        await taker.close()
        await other.close()


async def test_a_bad_row_fails_alone(database: Database, accepting: Accepting) -> None:
    first = new_job()
    await accepting.accept(first)
    good = [new_job() for _ in range(20)]
    taken = new_job(id=first.id)
    wrong = new_job(state=JobState.FAILED)  # ended, and at no time: the table refuses it
    results = await asyncio.gather(
        *(accepting.accept(job) for job in [*good[:10], taken, wrong, *good[10:]]),
        return_exceptions=True,
    )
    assert isinstance(results[10], DataError)
    assert isinstance(results[11], DataError)
    assert [result for i, result in enumerate(results) if i not in (10, 11)] == [None] * 20
    async with database.read() as connection:
        assert set(await connection.scalars(select(jobs.c.id))) == {
            first.id,
            *(job.id for job in good),
        }
    assert await the_job(database, first.id) == first


async def test_text_that_no_database_takes_is_refused_before_the_commit(
    accepting: Accepting,
) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        await accepting.accept(new_job(metadata={"text": "\ud800"}))


async def test_accepting_the_same_job_again_changes_nothing(
    database: Database, accepting: Accepting
) -> None:
    job = new_job()
    await accepting.accept(job)
    await accepting.accept(job)
    assert await the_job(database, job.id) == job


async def _position(database: Database, job: Job) -> tuple[object, ...]:
    query = select(jobs.c.log_topic, jobs.c.log_partition, jobs.c.log_offset, jobs.c.appended_at)
    async with database.read() as connection:
        return tuple((await connection.execute(query.where(jobs.c.id == job.id))).one())


async def _has_position(database: Database, job: Job) -> bool:
    return (await _position(database, job))[0] is not None


async def test_positions_are_kept_without_being_asked_again(
    database: Database, accepting: Accepting
) -> None:
    job = new_job()
    await accepting.accept(job)
    accepting.keep_position(job.id, Position("jobs.a.high", 3, 2**40))
    await until(lambda: _has_position(database, job))
    assert (await _position(database, job))[:3] == ("jobs.a.high", 3, 2**40)


async def test_closing_writes_the_positions_that_are_left(database: Database) -> None:
    accepting = Accepting(database)
    many = [new_job() for _ in range(50)]
    await asyncio.gather(*(accepting.accept(job) for job in many))
    for offset, job in enumerate(many):
        accepting.keep_position(job.id, Position("jobs.a.high", 0, offset))
    await accepting.close()
    for offset, job in enumerate(many):
        assert (await _position(database, job))[2] == offset


async def test_a_commit_that_was_never_answered_is_settled(
    database: Database, accepting: Accepting
) -> None:
    """The rows of a commit whose answer was lost are there already when they are tried again."""
    job, stranger = new_job(), new_job()
    await accepting.accept(stranger)
    loop = asyncio.get_running_loop()
    waiting = [
        accepting_module._Waiting(row_of(each), label_rows(each), loop.create_future())
        for each in (job, new_job(id=stranger.id))
    ]
    await accepting.accept(job)
    await accepting._settle(waiting)
    assert not waiting[0].done.done()
    assert isinstance(waiting[1].done.exception(), DataError)
    assert await the_job(database, job.id) == job


async def test_nothing_is_accepted_while_the_ledger_is_away(
    database: Database, accepting: Accepting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise LedgerUnavailable("it is away")

    with monkeypatch.context() as patching:
        for name in ("write", "statement"):
            patching.setattr(database, name, away)
        for job in (new_job(), new_job(labels=("bulk",))):  # by a statement, and a transaction
            with pytest.raises(LedgerUnavailable):
                await accepting.accept(job)
    async with database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(jobs)) == 0


async def test_rows_in_doubt_are_removed_when_the_database_answers_again(
    database: Database, accepting: Accepting
) -> None:
    job, kept = new_job(), new_job()
    await accepting.accept(job)
    row = row_of(job)
    future: asyncio.Future[Earlier | None] = asyncio.get_running_loop().create_future()
    accepting._doubtful.append(accepting_module._Waiting(row, [], future))
    await accepting.accept(kept)
    async with database.read() as connection:
        assert list(await connection.scalars(select(jobs.c.id))) == [kept.id]


async def test_data_and_absence_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        await Database.open("postgresql+asyncpg://nobody@127.0.0.1:1/none")
    (tmp_path / "folder.sqlite").mkdir()
    with pytest.raises(LedgerUnavailable):
        await Database.open(f"sqlite+aiosqlite:///{tmp_path}/folder.sqlite")
