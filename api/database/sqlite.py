"""The ledger in a SQLite file, which the processes of one host share."""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path

from sqlalchemy import URL, Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from api.database.database import Database
from api.database.errors import translated
from api.database.one_trip import OneTripDriver
from api.database.upgrade import bring_up_to_date, is_up_to_date

BUSY_SECONDS = 15.0  # how long a writer waits for writers of other processes
_RETRY_SECONDS = 0.02


class SqliteDatabase(Database):
    """WAL, synced at every commit; writers take the lock at BEGIN and form a line.

    Reads are statements by themselves, as on Postgres.

    A transaction that reads first and then writes would fail at once, whatever the busy
    timeout, if another process wrote in between.
    """

    def __init__(self, engine: AsyncEngine, path: Path) -> None:
        self._engine = engine
        self._writing = engine.execution_options(immediate=True)
        self._line = asyncio.Lock()  # fairer than SQLite's own waiting, which polls
        self._path = path

    @classmethod
    async def connect(cls, url: URL) -> SqliteDatabase:
        """Use `Database.open`."""
        path = Path(url.database or "")
        with translated():
            _make_file(path)
        engine = create_async_engine(
            url.set(query={}),
            module=OneTripDriver(),
            connect_args={"timeout": BUSY_SECONDS, "factory": _Connection},
            pool_size=4,
            max_overflow=4,
            hide_parameters=True,  # errors are logged, and rows hold links and secrets
        )
        event.listen(engine.sync_engine, "connect", _configure)
        event.listen(engine.sync_engine, "begin", _begin)
        database = cls(engine, path)
        try:
            await database._prepare()
        except BaseException:
            await database.close()
            raise
        return database

    async def _prepare(self) -> None:
        async with self.read() as connection:
            if await is_up_to_date(connection):
                return
        # The journal's mode is a property of the file, and changing it does not wait for others.
        while True:
            with _locked(self._lock_file("upgrade")) as mine:
                if mine:
                    async with self._engine.connect() as connection:
                        raw = await connection.get_raw_connection()
                        await raw.driver_connection.execute("PRAGMA journal_mode=WAL")  # type: ignore[union-attr]
                    async with self.write() as connection:
                        await bring_up_to_date(connection)
                    return
            await asyncio.sleep(_RETRY_SECONDS)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        with translated():
            async with self._engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        with translated():
            async with self._line, self._writing.begin() as connection:
                yield connection

    def statement(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self.write()

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[bool]:
        with _locked(self._lock_file(name)) as mine:
            yield mine

    async def close(self) -> None:
        await self._engine.dispose()

    def _lock_file(self, name: str) -> Path:
        return self._path.with_name(f"{self._path.name}.{name}.lock")


class _Connection(sqlite3.Connection):
    """Lets go of its locks when it is closed.

    SQLite closes a connection only after its last statement, and a cancelled task keeps cursors
    alive in its traceback: without this its transaction would block all writers for as long.
    """

    def close(self) -> None:
        with suppress(sqlite3.ProgrammingError):  # closed before, which nobody may mind
            if self.in_transaction:
                self.rollback()
        super().close()


def _make_file(path: Path) -> None:
    """Raises OSError here: the driver's thread complains by itself when it cannot open a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.open("ab").close()


def _configure(raw: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    raw.isolation_level = None  # BEGIN is ours: see _begin
    cursor = raw.cursor()
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("immediate", False):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _locked(file: Path) -> Iterator[bool]:
    """Whether the lock could be had; the operating system lets go of a dead holder's."""
    with translated(), file.open("wb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
