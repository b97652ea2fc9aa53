"""SQLite's driver for SQLAlchemy, with one trip to its thread for a statement.

aiosqlite runs every call in a thread, and the adapter makes four of them for a statement: a cursor,
the statement, its rows, the cursor's end. They cost more than what SQLite does for a short one.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from typing import Any, NamedTuple

import aiosqlite
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
)


class _Ran(NamedTuple):
    """What is left of a cursor once its rows are fetched."""

    description: Any = None
    rowcount: int = -1
    lastrowid: int | None = None


class _Cursor(AsyncAdapt_aiosqlite_cursor):
    __slots__ = ("_ran",)

    def __init__(self, adapt_connection: AsyncAdapt_aiosqlite_connection) -> None:
        self._adapt_connection = adapt_connection
        self._connection = adapt_connection._connection
        self._rows = deque()
        self._ran = _Ran()

    @property
    def description(self) -> Any:
        return self._ran.description

    @property
    def rowcount(self) -> int:
        return self._ran.rowcount

    @property
    def lastrowid(self) -> Any:
        return self._ran.lastrowid

    async def _execute_async(self, operation: Any, parameters: Any) -> None:
        await self._run("execute", operation, parameters or ())

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> None:
        await self._run("executemany", operation, seq_of_parameters)

    async def _run(self, method: str, operation: str, parameters: Any) -> None:
        driver: Any = self._connection
        async with self._adapt_connection._execute_mutex:
            self._ran, self._rows = await driver._execute(
                _run, driver._conn, method, operation, parameters
            )

    async def _async_soft_close(self) -> None:
        """It is closed."""

    def close(self) -> None:
        self._rows.clear()


class _Connection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ()
    _cursor_cls: type[AsyncAdapt_aiosqlite_cursor] = _Cursor

    def commit(self) -> None:
        """Only what wrote has something to commit."""
        driver: Any = self._connection
        if driver.in_transaction:
            super().commit()


class OneTripDriver(AsyncAdapt_aiosqlite_dbapi):
    """Hand it to `create_async_engine` as `module`."""

    def __init__(self) -> None:
        super().__init__(aiosqlite, sqlite3)

    def connect(self, *args: Any, **options: Any) -> AsyncAdapt_aiosqlite_connection:
        return _Connection(self, super().connect(*args, **options).driver_connection)


def _run(
    connection: sqlite3.Connection, method: str, operation: str, parameters: Any
) -> tuple[_Ran, deque[Any]]:
    """In the driver's thread."""
    cursor = connection.cursor()
    try:
        getattr(cursor, method)(operation, parameters)
        rows = deque(cursor.fetchall()) if cursor.description else deque()
        return _Ran(cursor.description, cursor.rowcount, cursor.lastrowid), rows
    finally:
        cursor.close()
