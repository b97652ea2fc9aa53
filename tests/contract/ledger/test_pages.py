"""Pages of jobs and files: newest first, whole, in both directions, through indexes."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine

from api.database import files, jobs
from api.database.accepting import Accepting
from api.database.database import Database
from api.database.ending import cancel
from api.database.files import FileRow
from api.database.jobs import JobFilter, _page
from api.database.paging import Cursor, Page
from common.job import Job, JobState
from tests.ledger import fresh_postgres, new_job

pytestmark = pytest.mark.anyio

MODELS = ("darkroom/echo", "darkroom/shapes")
LABELS = ((), ("a",), ("a", "b"))


@pytest.fixture
async def many(database: Database, accepting: Accepting) -> list[Job]:
    """60 jobs of an owner, newest first, several of one moment; and some of another owner's."""
    made = [
        new_job(
            id=f"job-{number:03}",
            created_at=1000.0 + number // 4,
            model=MODELS[number % 2],
            labels=LABELS[number % 3],
        )
        for number in range(60)
    ]
    others = [new_job(owner="other", created_at=1000.0, labels=("a",)) for _ in range(7)]
    await asyncio.gather(*(accepting.accept(job) for job in made + others))
    async with database.write() as connection:
        for job in made[::5]:
            await cancel(connection, job.id, code="canceled", error="Canceled.", at=2000.0)
    return sorted(made, key=lambda job: (job.created_at, job.id), reverse=True)


async def _page_of(
    database: Database, filter: JobFilter, cursor: Cursor | None = None, limit: int = 7
) -> Page[Job]:
    if cursor is not None:
        cursor = Cursor.decode(cursor.encode())
    async with database.read() as connection:
        return await jobs.page(connection, owner="local", filter=filter, cursor=cursor, limit=limit)


async def _ids(database: Database, filter: JobFilter) -> list[str]:
    """All ids, page by page by `next`; and back by `previous`, which must give the same."""
    page = await _page_of(database, filter)
    assert page.previous is None
    pages = [page]
    while page.next is not None:
        page = await _page_of(database, filter, page.next)
        pages.append(page)
    back = [page]
    while page.previous is not None:
        page = await _page_of(database, filter, page.previous)
        back.append(page)
    forth = [[job.id for job in page.items] for page in pages]
    assert [[job.id for job in page.items] for page in reversed(back)] == forth
    return [id for page in forth for id in page]


async def test_every_combination_of_filters_shows_what_it_should(
    database: Database, many: list[Job]
) -> None:
    canceled = {f"job-{number:03}" for number in range(0, 60, 5)}
    for status, model, label, after, before in itertools.product(
        (None, JobState.CANCELED, JobState.STARTING),
        (None, MODELS[0]),
        (None, "a", "nobody's"),
        (None, 1003.0),
        (None, 1012.0),
    ):
        filter = JobFilter(
            status=status, model=model, label=label, created_after=after, created_before=before
        )
        expected = [
            job.id
            for job in many
            if (status is None or (job.id in canceled) == (status is JobState.CANCELED))
            and model in (None, job.spec.model)
            and (label is None or label in job.labels)
            and (after is None or job.created_at > after)
            and (before is None or job.created_at < before)
        ]
        assert await _ids(database, filter) == expected


async def test_a_page_of_just_the_right_size_is_the_last(
    database: Database, many: list[Job]
) -> None:
    page = await _page_of(database, JobFilter(), limit=60)
    assert len(page.items) == 60
    assert page.next is None
    assert page.previous is None


async def test_new_jobs_do_not_shift_the_pages(
    database: Database, accepting: Accepting, many: list[Job]
) -> None:
    first = await _page_of(database, JobFilter())
    await accepting.accept(new_job(created_at=time.time()))
    second = await _page_of(database, JobFilter(), first.next)
    assert [job.id for job in second.items] == [job.id for job in many[7:14]]


@pytest.mark.parametrize(
    "word",
    [
        "",
        "x",
        "ä",
        "bnVsbA",
        "e30",
        "WzEsMl0",
        "WzEsIngiLGZhbHNlLDFd",
        "!" * 10,
        "A" * 10_000,
        "WzEsIlx1MDAwMCJd",
    ],
)
def test_a_cursor_that_is_not_ours_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="not a cursor") as refused:
        Cursor.decode(word)
    assert not word or word not in str(refused.value)  # it may be a key in the wrong place


async def test_postgres_reads_pages_through_indexes(servers: dict[str, str]) -> None:
    url = await fresh_postgres(servers["DARKROOM_DATABASE_URL"])
    database = await Database.open(url)
    await database.close()
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text(_MANY_JOBS))
        await connection.execute(text(_MANY_LABELS))
    async with engine.connect() as connection:
        connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("ANALYZE"))
        # So a plan is made once for all values. It has to be good enough for Postgres to keep it.
        await connection.execute(text("SET plan_cache_mode = force_generic_plan"))
        cursor = Cursor(5000.0, "job")
        for filter, index in (
            (JobFilter(), "ix_jobs_owner_created_at_id"),
            (JobFilter(created_after=10.0), "ix_jobs_owner_created_at_id"),
            (JobFilter(status=JobState.FAILED), "ix_jobs_owner_state_created_at_id"),
            (JobFilter(model="rare"), "ix_jobs_owner_model_created_at_id"),
            (JobFilter(label="some"), "pk_job_labels"),
        ):
            for place in (None, cursor, Cursor(5000.0, "job", newer=True)):
                query = _page("local", filter, place, 101).compile(
                    dialect=postgresql.asyncpg.dialect()  # type: ignore[no-untyped-call]
                )
                values = ", ".join(f"'{query.params[name]}'" for name in query.positiontup or ())
                await connection.exec_driver_sql(f"PREPARE page AS {query}")
                rows = await connection.exec_driver_sql(f"EXPLAIN EXECUTE page({values})")
                plan = "\n".join(row[0] for row in rows)
                await connection.exec_driver_sql("DEALLOCATE page")
                # A limit that it does not see is a tenth of all to Postgres, and costs so.
                assert int(plan.split("rows=")[1].split()[0]) <= 101, plan
                assert index in plan, plan
                assert "Seq Scan" not in plan, plan
                assert " Sort " not in plan, plan
    await engine.dispose()


_MANY_JOBS = """
INSERT INTO jobs (id, owner, model, priority, parameters, inputs, version, link_token, created_at,
                  state, sequence, attempt, completed_at, logs, labels, metadata)
SELECT 'job-' || n, 'local', CASE WHEN n % 500 = 0 THEN 'rare' ELSE 'common' END, 'normal',
       '{}', '{}', 'main', 'token', n, CASE WHEN n % 500 = 0 THEN 'failed' ELSE 'succeeded' END,
       2, 1, n, '', '[]', '{}'
FROM generate_series(1, 20000) n
"""
_MANY_LABELS = """
INSERT INTO job_labels (owner, label, created_at, job)
SELECT 'local', CASE WHEN n % 3 = 0 THEN 'some' ELSE 'most' END, n, 'job-' || n
FROM generate_series(1, 20000) n
"""


def _file(number: int, owner: str = "local") -> FileRow:
    return FileRow(
        id=f"file-{owner}-{number}",
        owner=owner,
        name="ein Bild.png",
        content_type="image/png",
        size=2**33,
        sha256="ab" * 32,
        key="inputs/local/2026-11-21/ab",
        metadata={"a": [1, {"b": None}]},
        created_at=1000.0 + number // 3,
    )


async def test_files_are_kept_paged_and_deleted(database: Database) -> None:
    mine = [_file(number) for number in range(10)]
    async with database.write() as connection:
        for file in [*mine, _file(0, "other")]:
            await files.add(connection, file)
    async with database.read() as connection:
        assert await files.get(connection, "local", mine[3].id) == mine[3]
        assert await files.get(connection, "other", mine[3].id) is None
        first = await files.page(connection, owner="local", cursor=None, limit=6)
        second = await files.page(connection, owner="local", cursor=first.next, limit=6)
    assert first.items + second.items == mine[::-1]
    assert second.next is None
    async with database.write() as connection:
        assert await files.delete(connection, "other", mine[3].id) is None
        assert await files.delete(connection, "local", mine[3].id) == mine[3]
        assert await files.delete(connection, "local", mine[3].id) is None
        assert await files.get(connection, "local", mine[3].id) is None
