"""API keys, and the pages of one who sees everyone's jobs, on both dialects."""

from __future__ import annotations

import dataclasses

import pytest

from api.access.keyring import Keyring
from api.access.keys import KEY_SECONDS, ApiKey, Scope, make_key
from api.database import jobs, keys
from api.database.accepting import Accepting
from api.database.database import Database
from api.database.jobs import JobFilter
from tests.ledger import new_job

pytestmark = pytest.mark.anyio


async def added(database: Database, **fields: object) -> ApiKey:
    key, _ = make_key(scopes=frozenset({Scope.USER, Scope.MONITOR}), now=5.0)
    key = dataclasses.replace(key, **fields)  # type: ignore[arg-type]
    async with database.write() as connection:
        await keys.add(connection, key)
    return key


async def the_key(database: Database, key: ApiKey) -> ApiKey:
    async with database.read() as connection:
        found = await keys.get(connection, key.id)
    assert found is not None
    return found


async def test_a_key_comes_back_as_it_was_added(database: Database) -> None:
    async with database.read() as connection:
        assert not await keys.any_there(connection)
    key = await added(database, name="of a phone", expires_at=99.5)

    assert await the_key(database, key) == key
    async with database.read() as connection:
        assert await keys.any_there(connection)
        assert await keys.get(connection, "0" * 12) is None
        assert await keys.every(connection) == [key]
        assert await keys.owners(connection) == [key.owner]


async def test_a_second_revocation_keeps_the_time_of_the_first(database: Database) -> None:
    key = await added(database)
    for at in (10.0, 20.0):
        async with database.write() as connection:
            await keys.revoke(connection, key.id, at=at)
    assert (await the_key(database, key)).revoked_at == 10.0


@pytest.mark.parametrize(("before", "after"), [(None, 50.0), (99.0, 50.0), (20.0, 20.0)])
async def test_an_overlap_shortens_a_life_and_never_lengthens_it(
    database: Database, before: float | None, after: float
) -> None:
    key = await added(database, expires_at=before)
    async with database.write() as connection:
        await keys.let_expire(connection, key.id, at=50.0)
    assert (await the_key(database, key)).expires_at == after


async def test_last_use_is_noted_behind_the_requests(database: Database) -> None:
    used, unused = await added(database), await added(database)
    keyring = Keyring(database)
    keyring.used(used)
    await keyring.close()
    assert (await the_key(database, used)).last_used_at is not None
    assert (await the_key(database, unused)).last_used_at is None


async def test_a_key_is_looked_up_once_in_a_while_and_its_end_is_then_seen(
    database: Database,
) -> None:
    key = await added(database)
    now = 100.0
    keyring = Keyring(database, clock=lambda: now)
    assert await keyring.find(key.id) == key

    async with database.write() as connection:
        await keys.revoke(connection, key.id, at=10.0)
    now += KEY_SECONDS - 0.1
    kept = await keyring.find(key.id)
    now += 0.1
    seen = await keyring.find(key.id)

    assert kept is not None
    assert kept.revoked_at is None
    assert seen is not None
    assert seen.revoked_at == 10.0


async def test_everyones_pages_hold_each_job_once_newest_first_there_and_back(
    database: Database, accepting: Accepting
) -> None:
    owners = ["local", (await added(database)).owner, (await added(database, owner="ann")).owner]
    made = [
        new_job(owner=owners[number % 3], created_at=1000.0 + number // 2) for number in range(10)
    ]
    for job in made:
        await accepting.accept(job)

    async with database.read() as connection:
        pages = [await jobs.page(connection, owner=None, filter=JobFilter(), cursor=None, limit=4)]
        while pages[-1].next is not None:
            pages.append(
                await jobs.page(
                    connection, owner=None, filter=JobFilter(), cursor=pages[-1].next, limit=4
                )
            )
        back = await jobs.page(
            connection, owner=None, filter=JobFilter(), cursor=pages[1].previous, limit=4
        )
    seen = [job for page in pages for job in page.items]
    assert [(j.created_at, j.id) for j in seen] == sorted(
        ((j.created_at, j.id) for j in made), reverse=True
    )
    assert [len(page.items) for page in pages] == [4, 4, 2]
    assert back.items == pages[0].items
