"""Transactions end, however those who began them do."""

from __future__ import annotations

import asyncio
import random

import asyncpg
import pytest
from sqlalchemy import event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from api.database import files
from api.database.database import Database
from api.database.files import FileRow
from api.database.sqlite import _Connection
from common.errors import LedgerUnavailable
from tests.ledger import fresh_postgres, until

pytestmark = pytest.mark.anyio


def _file(number: int) -> FileRow:
    return FileRow(
        id=f"{number}",
        owner="local",
        name="",
        content_type="image/png",
        size=1,
        sha256="",
        key="",
        metadata={},
        created_at=1.0,
    )


async def _write(database: Database, number: int) -> None:
    async with database.write() as connection:
        await files.add(connection, _file(number))
        await files.get(connection, "local", f"{number}")


async def test_a_transaction_that_is_cancelled_anywhere_blocks_nobody(database: Database) -> None:
    chance = random.Random(3)
    cancelled = []  # kept, as a server may keep a failed task for a while
    for number in range(300):
        task = asyncio.create_task(_write(database, 2 * number))
        await asyncio.wait([task], timeout=chance.random() * 0.01)
        task.cancel()
        cancelled.append(task)
        await asyncio.wait([task])
        async with asyncio.timeout(10):
            await _write(database, 2 * number + 1)
    async with asyncio.timeout(30):
        await asyncio.gather(*(database.check() for _ in range(30)))


def test_sqlites_connection_may_be_closed_twice_as_its_driver_does_with_a_cancelled_one() -> None:
    connection = _Connection(":memory:")
    connection.execute("BEGIN")
    connection.close()
    connection.close()


async def test_what_raises_inside_is_rolled_back(database: Database) -> None:
    async def fail() -> None:
        async with database.write() as connection:
            await files.add(connection, _file(1))
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await fail()
    async with database.read() as connection:
        assert await files.get(connection, "local", "1") is None


async def test_a_restarted_server_is_met_without_an_error(servers: dict[str, str]) -> None:
    """As after a restart: every connection of the pool was closed by the server."""
    url = await fresh_postgres(servers["DARKROOM_DATABASE_URL"])
    pooled: list[asyncpg.Connection] = []

    def keep(raw: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        pooled.append(raw.driver_connection)

    event.listen(Pool, "connect", keep)
    database = await Database.open(url)
    await asyncio.gather(*(database.check() for _ in range(5)))
    event.remove(Pool, "connect", keep)
    other = await Database.open(url)
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with other.read() as connection:
        await connection.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))

    async def all_closed() -> bool:  # a server's process leaves its list before it hangs up
        return all(connection.is_closed() for connection in pooled)

    await until(all_closed)
    await other.close()
    assert len(pooled) >= 5
    for number in range(5):
        await _write(database, number)
    await database.close()


async def test_a_connection_lost_inside_a_transaction_says_that_the_ledger_is_away(
    servers: dict[str, str],
) -> None:
    database = await Database.open(await fresh_postgres(servers["DARKROOM_DATABASE_URL"]))

    async def lose() -> None:
        async with database.write() as connection:
            await files.add(connection, _file(1))
            pid = await connection.scalar(text("SELECT pg_backend_pid()"))
            async with database.read() as other:
                await other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            await files.add(connection, _file(2))

    with pytest.raises(LedgerUnavailable):
        await lose()
    await _write(database, 3)
    async with database.read() as connection:
        assert await files.get(connection, "local", "1") is None
    await database.close()


async def test_an_error_does_not_tell_the_values_of_its_statement(database: Database) -> None:
    statement = text("INSERT INTO no_such_table VALUES (:token)")
    with pytest.raises(SQLAlchemyError) as error:
        async with database.write() as connection:
            await connection.execute(statement, {"token": "canary"})
    assert "no_such_table" in str(error.value)
    assert "canary" not in str(error.value)


async def test_postgres_finds_out_within_half_a_minute_that_a_client_is_gone_without_a_word(
    servers: dict[str, str],
) -> None:
    database = await Database.open(await fresh_postgres(servers["DARKROOM_DATABASE_URL"]))
    async with database.write() as connection:
        idle, interval, count = [
            int(await connection.scalar(text(f"SHOW tcp_keepalives_{name}")))
            for name in ("idle", "interval", "count")
        ]
    assert 0 < idle + interval * count < 30
    await database.close()
