"""Dead letters in the ledger: which ends make them, how they are found, and how often they go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import text

from api.database import dead_letters, ending
from api.database.accepting import Accepting
from api.database.database import Database
from api.database.dead_letters import LetterFilter
from api.database.ending import End
from api.database.paging import Cursor, Page
from common.job import Job, JobState
from tests.ledger import new_job, the_job

pytestmark = pytest.mark.anyio

ALL = LetterFilter()


def failed(code: str, at: float = 1.0) -> End:
    return End(state=JobState.FAILED, at=at, error_code=code, error=f"It was {code}.")


async def accept(accepting: Accepting, *ids: str, **fields: Any) -> None:
    await asyncio.gather(*(accepting.accept(new_job(id=id, **fields)) for id in ids))


async def end_all(database: Database, ends: Mapping[str, End]) -> None:
    async with database.write() as connection:
        await ending.end_each(connection, ends)


async def waiting(
    database: Database, filter: LetterFilter = ALL, owner: str | None = "local"
) -> set[str]:
    async with database.read() as connection:
        page = await dead_letters.page(
            connection, owner=owner, filter=filter, cursor=None, limit=100
        )
        number = await dead_letters.count(connection, owner=owner, filter=filter)
    assert number == len(page.items)
    return {letter.id for letter in page.items}


async def discard(database: Database, filter: LetterFilter = ALL, limit: int = 100) -> list[str]:
    async with database.write() as connection:
        return await dead_letters.discard(connection, owner="local", filter=filter, limit=limit)


async def test_failures_through_no_fault_of_the_input_wait_as_letters(
    database: Database, accepting: Accepting
) -> None:
    ends = {
        "crashed": failed("engine_crashed"),
        "lost": failed("consumer_lost"),
        "bad": failed("bad_input"),
        "canceled": End(state=JobState.CANCELED, at=1.0, error_code="canceled", error="Canceled."),
        "good": End(state=JobState.SUCCEEDED, at=1.0),
    }
    await accept(accepting, *ends, "running")
    await end_all(database, ends)
    assert await waiting(database) == {"crashed", "lost"}
    assert (await the_job(database, "crashed")).dead_letter == "waiting"
    assert (await the_job(database, "bad")).dead_letter is None


async def test_a_job_that_ends_alone_is_a_letter_too_and_its_end_stays_the_first(
    database: Database, accepting: Accepting
) -> None:
    await accept(accepting, "one", "two")
    for id, code in (("one", "out_of_memory"), ("two", "bad_input"), ("two", "out_of_memory")):
        async with database.write() as connection:
            await ending.end(connection, id, failed(code))
    assert await waiting(database) == {"one"}


async def test_each_filter_thins_them_out_and_owners_see_their_own(
    database: Database, accepting: Accepting
) -> None:
    await accept(accepting, "a", model="o/a", created_at=10.0)
    await accept(accepting, "b", model="o/b", created_at=20.0)
    await accept(accepting, "other", owner="other")
    await end_all(
        database,
        {"a": failed("x", at=30.0), "b": failed("y", at=40.0), "other": failed("x", at=35.0)},
    )
    for filter, expected in (
        (ALL, {"a", "b"}),
        (LetterFilter(cause="x"), {"a"}),
        (LetterFilter(model="o/b"), {"b"}),
        (LetterFilter(cause="x", model="o/b"), set()),
        (LetterFilter(ids=("b", "other", "none")), {"b"}),
        (LetterFilter(ids=()), set()),
        (LetterFilter(created_after=10.0), {"b"}),
        (LetterFilter(created_before=20.0), {"a"}),
        (LetterFilter(failed_after=30.0), {"b"}),
        (LetterFilter(failed_before=40.0), {"a"}),
    ):
        assert await waiting(database, filter) == expected, filter
    assert await waiting(database, owner="other") == {"other"}
    assert await waiting(database, owner=None) == {"a", "b", "other"}


async def test_pages_go_from_the_latest_failure_to_the_first_and_back(
    database: Database, accepting: Accepting
) -> None:
    ids = [f"job-{number}" for number in range(7)]
    await accept(accepting, *ids)
    await end_all(database, {id: failed("x", at=float(n // 2)) for n, id in enumerate(ids)})

    async def page(cursor: Cursor | None) -> Page[Job]:
        async with database.read() as connection:
            return await dead_letters.page(
                connection, owner="local", filter=ALL, cursor=cursor, limit=3
            )

    first = await page(None)
    second = await page(first.next)
    third = await page(second.next)
    assert [letter.id for one in (first, second, third) for letter in one.items] == ids[::-1]
    assert (first.previous, third.next) == (None, None)
    assert await page(third.previous) == second
    assert (await page(second.previous)).items == first.items


async def test_groups_count_and_show_the_latest_of_each(
    database: Database, accepting: Accepting
) -> None:
    await accept(accepting, "1", "2", "3", model="o/a")
    await accept(accepting, "4", model="o/b")
    await end_all(
        database,
        {
            "1": failed("x", at=5.0), "2": failed("x", at=7.0), "3": failed("y", at=6.0),
            "4": failed("x", at=8.0),
        },
    )  # fmt: skip
    async with database.read() as connection:
        found = await dead_letters.groups(connection, owner="local", filter=ALL)
        some = await dead_letters.groups(connection, owner="local", filter=LetterFilter(cause="y"))
    assert [(g.model, g.cause, g.count, g.first_failed_at, g.last_failed_at) for g in found] == [
        ("o/a", "x", 2, 5.0, 7.0),
        ("o/a", "y", 1, 6.0, 6.0),
        ("o/b", "x", 1, 8.0, 8.0),
    ]
    assert found[0].sample == await the_job(database, "2")
    assert [group.sample.id for group in some] == ["3"]


async def test_what_is_discarded_is_gone_from_the_list_and_stays_failed(
    database: Database, accepting: Accepting
) -> None:
    ids = [f"job-{number}" for number in range(5)]
    await accept(accepting, *ids)
    await end_all(database, {id: failed("x", at=float(n)) for n, id in enumerate(ids)})
    assert await discard(database, LetterFilter(cause="y")) == []
    assert set(await discard(database, limit=2)) == {"job-4", "job-3"}
    assert await waiting(database) == {"job-0", "job-1", "job-2"}
    job = await the_job(database, "job-4")
    assert (job.state, job.dead_letter) == (JobState.FAILED, "discarded")
    assert await discard(database, LetterFilter(ids=("job-4",))) == []


async def test_of_many_who_discard_at_once_one_gets_each_letter(
    database: Database, accepting: Accepting
) -> None:
    ids = [f"job-{number}" for number in range(20)]
    await accept(accepting, *ids)
    await end_all(database, {id: failed("x") for id in ids})
    done = await asyncio.gather(*(discard(database) for _ in range(8)))
    assert sorted(id for each in done for id in each) == sorted(ids)


async def test_letters_are_found_through_their_own_index(
    database: Database, accepting: Accepting
) -> None:
    """So that finished jobs cost a list of letters nothing, however many there are."""
    await accept(accepting, *(f"job-{number}" for number in range(2000)))
    ends = {f"job-{n}": failed("x" if n < 5 else "bad_input", at=float(n)) for n in range(2000)}
    await end_all(database, ends)
    query = dead_letters._page("local", LetterFilter(model="darkroom/echo"), None, 101)
    async with database.write() as connection:
        await connection.execute(text("ANALYZE"))
        dialect = connection.dialect
        compiled = query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
        explain = "EXPLAIN" if dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        plan = (await connection.exec_driver_sql(f"{explain} {compiled}")).all()
    assert "ix_jobs_dead" in str(plan)
