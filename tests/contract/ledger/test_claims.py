"""Idempotency keys: one job of many that want the same key, whoever accepts them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database import accepting as accepting_module
from api.database.accepting import Accepting
from api.database.claims import KEPT_SECONDS, Claim, Earlier, find, forget
from api.database.database import Database
from api.database.errors import DataError
from api.database.rows import label_rows, row_of
from api.database.tables import idempotency_keys, job_labels, jobs
from common.errors import LedgerUnavailable
from common.job import Job
from tests.ledger import new_job, the_job

pytestmark = pytest.mark.anyio

CLAIM = Claim(fingerprint="a", key="the-key")


async def _ids(database: Database) -> set[str]:
    async with database.read() as connection:
        return set(await connection.scalars(select(jobs.c.id)))


async def test_fifty_at_once_over_two_processes_make_one_job(
    database: Database, accepting: Accepting, ledger_url: str
) -> None:
    other = await Database.open(ledger_url)
    second = Accepting(other)
    wanted = [new_job(labels=("bulk",)) for _ in range(50)]
    told = await asyncio.gather(
        *((accepting, second)[i % 2].accept(job, CLAIM) for i, job in enumerate(wanted))
    )
    [winner] = [job for job, earlier in zip(wanted, told, strict=True) if earlier is None]
    assert [earlier for earlier in told if earlier] == [Earlier(winner.id, "a")] * 49
    assert await _ids(database) == {winner.id}
    async with database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(job_labels)) == 1
    await second.close()
    await other.close()


async def test_many_keys_at_once_over_two_processes_make_a_job_each(
    database: Database, accepting: Accepting, ledger_url: str
) -> None:
    """In opposite orders, so that two transactions could wait for each other."""
    other = await Database.open(ledger_url)
    second = Accepting(other)
    keys = [secrets.token_hex(8) for _ in range(60)]
    told = await asyncio.gather(
        *(accepting.accept(new_job(), Claim("a", key)) for key in keys),
        *(second.accept(new_job(), Claim("a", key)) for key in reversed(keys)),
        *(accepting.accept(new_job()) for _ in range(10)),
    )
    assert sum(earlier is None for earlier in told) == len(keys) + 10
    assert len(await _ids(database)) == len(keys) + 10
    await second.close()
    await other.close()


async def test_a_key_tells_what_it_stood_for(accepting: Accepting) -> None:
    job = new_job()
    assert await accepting.accept(job, CLAIM) is None
    another = await accepting.accept(new_job(), Claim(fingerprint="b", key="the-key"))
    assert another == Earlier(job.id, "a")


async def test_a_key_is_its_owners_own(database: Database, accepting: Accepting) -> None:
    mine, theirs = new_job(owner="a"), new_job(owner="b")
    assert await accepting.accept(mine, CLAIM) is None
    assert await accepting.accept(theirs, CLAIM) is None
    assert await _ids(database) == {mine.id, theirs.id}


async def test_a_key_serves_anew_after_a_day(database: Database, accepting: Accepting) -> None:
    old = new_job()
    await accepting.accept(old, CLAIM)
    late = new_job(created_at=old.created_at + KEPT_SECONDS - 1)
    assert await accepting.accept(late, CLAIM) == Earlier(old.id, "a")
    new = new_job(created_at=old.created_at + KEPT_SECONDS)
    assert await accepting.accept(new, Claim("b", CLAIM.key)) is None
    async with database.read() as connection:
        assert await find(connection, "local", "the-key", new.created_at) == Earlier(new.id, "b")
    assert await _ids(database) == {old.id, new.id}


async def test_keys_are_found_and_forgotten_by_their_age(
    database: Database, accepting: Accepting
) -> None:
    job = new_job()
    await accepting.accept(job, CLAIM)
    day_after = job.created_at + KEPT_SECONDS
    async with database.write() as connection:
        assert await find(connection, "local", "the-key", day_after - 1) == Earlier(job.id, "a")
        assert await find(connection, "local", "the-key", day_after) is None
        assert await find(connection, "other", "the-key", day_after - 1) is None
        assert await forget(connection, day_after - 1) == 0
        assert await forget(connection, day_after) == 1
        assert (await connection.execute(select(idempotency_keys))).all() == []
    assert await _ids(database) == {job.id}


async def test_one_id_is_accepted_once_over_two_processes(
    database: Database, accepting: Accepting, ledger_url: str
) -> None:
    other = await Database.open(ledger_url)
    second = Accepting(other)
    wanted = [new_job(id="0" * 32) for _ in range(50)]
    bystanders = [new_job() for _ in range(10)]
    told = await asyncio.gather(
        *(
            (accepting, second)[i % 2].accept(job, Claim("a"))
            for i, job in enumerate([*wanted, *bystanders])
        ),
        return_exceptions=True,
    )
    assert sum(result is None for result in told[:50]) == 1
    assert sum(isinstance(result, DataError) for result in told[:50]) == 49
    assert told[50:] == [None] * 10
    assert await the_job(database, "0" * 32) in wanted
    await second.close()
    await other.close()


async def test_a_bad_row_leaves_its_neighbours_keys_alone(
    database: Database, accepting: Accepting
) -> None:
    taken = new_job()
    await accepting.accept(taken)
    good = [new_job() for _ in range(3)]
    told = await asyncio.gather(
        accepting.accept(good[0], CLAIM),
        accepting.accept(new_job(id=taken.id), Claim("a", "another")),
        accepting.accept(good[1], CLAIM),
        accepting.accept(good[2]),
        return_exceptions=True,
    )
    assert told[0] is None
    assert isinstance(told[1], DataError)
    assert told[2] == Earlier(good[0].id, "a")
    assert told[3] is None
    assert await _ids(database) == {taken.id, good[0].id, good[2].id}
    async with database.read() as connection:
        assert await find(connection, "local", "another", taken.created_at) is None


async def test_a_commit_with_keys_that_was_never_answered_is_settled(
    database: Database, accepting: Accepting
) -> None:
    winner, loser = new_job(), new_job()
    loop = asyncio.get_running_loop()

    def waiting(job: Job) -> accepting_module._Waiting:
        return accepting_module._Waiting(row_of(job), label_rows(job), loop.create_future(), CLAIM)

    await accepting.accept(winner, CLAIM)
    rows = [waiting(winner), waiting(loser)]
    assert await accepting._settle(rows) == {loser.id: Earlier(winner.id, "a")}
    assert not any(row.done.done() for row in rows)
    assert await _ids(database) == {winner.id}


async def test_a_row_in_doubt_stays_if_its_caller_will_ask_for_it_again(
    database: Database, accepting: Accepting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commits are made, and their answers lost: all callers hear that there is no job."""
    made, claims = [new_job() for _ in range(3)], (CLAIM, Claim("a"), None)
    with monkeypatch.context() as patching:
        patching.setattr(database, "write", partial(_unanswered, database.write))
        told = await asyncio.gather(
            *(accepting.accept(job, claim) for job, claim in zip(made, claims, strict=True)),
            return_exceptions=True,
        )
    assert [type(error) for error in told] == [LedgerUnavailable] * 3
    assert await _ids(database) == {job.id for job in made}
    assert await accepting.accept(new_job(), CLAIM) == Earlier(made[0].id, "a")
    assert await _ids(database) == {made[0].id, made[1].id}


@pytest.mark.parametrize("commits", [0, 1])
async def test_a_job_and_its_key_come_into_being_together_wherever_their_process_dies(
    database: Database, accepting: Accepting, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    job, left = new_job(), iter(range(commits))
    with monkeypatch.context() as patching:
        for name in ("write", "statement"):
            patching.setattr(
                database, name, partial(_while_it_lives, getattr(database, name), left)
            )
        with suppress(LedgerUnavailable):
            await accepting.accept(job, CLAIM)
    async with database.read() as connection:
        key = await find(connection, job.owner, "the-key", job.created_at)
    assert await _ids(database) == ({job.id} if commits else set())
    assert key == (Earlier(job.id, "a") if commits else None)


@asynccontextmanager
async def _while_it_lives(
    begin: Callable[[], AbstractAsyncContextManager[AsyncConnection]], left: Iterator[int]
) -> AsyncIterator[AsyncConnection]:
    """So many transactions, and then none."""
    if next(left, None) is None:
        raise LedgerUnavailable("the process is dead")
    async with begin() as connection:
        yield connection


@asynccontextmanager
async def _unanswered(
    write: Callable[[], AbstractAsyncContextManager[AsyncConnection]],
) -> AsyncIterator[AsyncConnection]:
    async with write() as connection:
        yield connection
    raise LedgerUnavailable("the answer was lost")
