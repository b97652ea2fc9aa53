"""A whole ledger copied from a SQLite file into Postgres by one transaction: all of it, or nothing.

No table has a sequence of its own (ids are made outside), so its rows are all that there is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import URL, Column, RowMapping, Table, event, func, insert, select, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from api.database.errors import translated
from api.database.postgres import unhurried
from api.database.repairing import strays
from api.database.tables import UNENDED, api_keys, files, jobs, metadata
from api.database.url import parsed
from common.errors import InUse
from common.job import Output
from common.object_key import maker_of

BATCH = 1000
_BUSY_SECONDS = 1.0
# Where the old log holds a job says nothing of the new one. Without a place it is appended there.
_NOWHERE = {"log_topic": None, "log_partition": None, "log_offset": None, "appended_at": None}

_output = msgspec.json.Decoder(Output)


class OldLedger:
    """A ledger in a SQLite file that no other process has open."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Use `held`."""
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def held(cls, path: Path) -> AsyncIterator[OldLedger]:
        """Alone until the end. Raises InUse, LedgerUnavailable."""
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(path)),
            connect_args={"timeout": _BUSY_SECONDS},
            poolclass=NullPool,
            hide_parameters=True,
        )
        event.listen(engine.sync_engine, "connect", _take_alone)
        event.listen(engine.sync_engine, "begin", lambda c: c.exec_driver_sql("BEGIN EXCLUSIVE"))
        try:
            with translated():
                async with engine.connect() as connection:
                    await _begin(connection, path)
                    yield cls(connection)
        finally:
            await engine.dispose()

    async def counts(self) -> dict[str, int]:
        """The rows of each table, in the order in which they are copied."""
        return {
            table.name: await self._connection.scalar(select(func.count()).select_from(table)) or 0
            for table in metadata.sorted_tables
        }

    async def waiting(self) -> int:
        """Jobs that have not ended."""
        query = select(func.count()).select_from(jobs).where(UNENDED)
        return await self._connection.scalar(query) or 0

    async def strays(self) -> int:
        """Rows that name a job which does not exist: Postgres would refuse them."""
        return sum(stray.count for stray in await strays(self._connection))

    async def content_types(self, keys: Collection[str]) -> dict[str, str]:
        """Of those objects of which the ledger says it: the results of their jobs, and files."""
        makers = {maker_of(key) for key in keys}
        query = select(files.c.key, files.c.content_type).where(files.c.id.in_(makers))
        found = {row.key: row.content_type for row in await self._connection.execute(query)}
        made = select(jobs.c.output).where(jobs.c.id.in_(makers), jobs.c.output.is_not(None))
        for output in await self._connection.scalars(made):
            found |= {file.key: file.content_type for file in _output.decode(output).files}
        return found

    async def batches(self, table: Table, *columns: Column[Any]) -> AsyncIterator[list[RowMapping]]:
        """Those columns of all rows, in the order of their keys."""
        query = select(*columns).order_by(*table.primary_key.columns)
        async with self._connection.stream(query) as result:
            async for rows in result.mappings().partitions(BATCH):
                yield list(rows)


class NewLedger:
    """A ledger in Postgres, whose tables are there, within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Use `looking` or `filling`."""
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def looking(cls, url: str) -> AsyncIterator[NewLedger]:
        """Nobody is kept from anything. Raises LedgerUnavailable, also from within."""
        async with unhurried(parsed(url)) as connection:
            yield cls(connection)

    @classmethod
    @asynccontextmanager
    async def filling(cls, url: str) -> AsyncIterator[NewLedger]:
        """Commits at the end. Until then nobody else writes, and who reads sees nothing of it.

        Raises LedgerUnavailable, also from within.
        """
        names = ", ".join(table.name for table in metadata.sorted_tables)
        async with unhurried(parsed(url)) as connection:
            await connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))
            yield cls(connection)

    async def occupied(self) -> list[str]:
        """The tables that have rows."""
        return [
            table.name
            for table in metadata.sorted_tables
            if (await self._connection.execute(select(table).limit(1))).first() is not None
        ]

    async def has_all_of(self, old: OldLedger) -> bool:
        """Whether it has every job and every API key of the old one, and there are some.

        No row of these two tables is ever deleted. So one that has them got them by a copy.
        """
        found = 0
        for table in (jobs, api_keys):
            async for rows in old.batches(table, table.c.id):
                ids = [row["id"] for row in rows]
                there = select(func.count()).select_from(table).where(table.c.id.in_(ids))
                if await self._connection.scalar(there) != len(ids):
                    return False
                found += len(ids)
        return found > 0

    async def copy(self, old: OldLedger, told: Callable[[str, int], None]) -> None:
        """Every row of every table, those that others refer to first. `told`: table, rows."""
        for table in metadata.sorted_tables:
            count = 0
            async for rows in old.batches(table, *table.c):
                moved = _NOWHERE if table is jobs else {}
                await self._connection.execute(insert(table), [{**row, **moved} for row in rows])
                count += len(rows)
            told(table.name, count)


def _take_alone(raw: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """With a write-ahead log every connection has a lock on the file for as long as it is open."""
    raw.isolation_level = None  # BEGIN is ours
    cursor = raw.cursor()
    cursor.execute("PRAGMA locking_mode=EXCLUSIVE")
    cursor.close()


async def _begin(connection: AsyncConnection, path: Path) -> None:
    try:
        await connection.begin()
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        raise InUse(f"{path} is open in another process") from error
