"""The connection to the ledger: transactions on SQLite or Postgres, chosen by the URL."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.errors import translated
from api.database.url import parsed
from common.errors import SettingsInvalid

CHECK_SECONDS = 2.0


class Database(ABC):
    """The ledger's transactions. `Database.open` chooses the dialect."""

    @classmethod
    async def open(cls, url: str) -> Database:
        """The ledger at `url`, its tables brought up to date.

        `sqlite+aiosqlite:///PATH` or `postgresql+asyncpg://…`. Several processes may open the same
        one at once. Raises LedgerUnavailable, and SettingsInvalid for a URL that makes no sense.
        """
        address = parsed(url)
        if address.drivername == "sqlite+aiosqlite" and address.database:
            from api.database.sqlite import SqliteDatabase

            return await SqliteDatabase.connect(address)
        if address.drivername == "postgresql+asyncpg":
            from api.database.postgres import PostgresDatabase

            return await PostgresDatabase.connect(address)
        raise SettingsInvalid(
            "DARKROOM_DATABASE_URL: it is neither sqlite+aiosqlite:///PATH nor "
            "postgresql+asyncpg://USER@HOST/NAME"
        )

    @abstractmethod
    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection that only reads. Raises LedgerUnavailable, also from within."""

    @abstractmethod
    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that commits at the end, and rolls back on any exception.

        Raises LedgerUnavailable, also from within; if the end itself raises it, the outcome
        of the commit is unknown.
        """

    @abstractmethod
    def statement(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection for one statement that writes, and that commits itself where it can.

        That saves the trips to the server for BEGIN and COMMIT. Raises LedgerUnavailable, also
        from within; the outcome is then unknown.
        """

    @abstractmethod
    def alone(self, name: str) -> AbstractAsyncContextManager[bool]:
        """True while no other holder of `name` is inside, in any process; False otherwise.

        Never waits. A holder that dies lets go. Raises LedgerUnavailable.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of every connection."""

    async def check(self) -> None:
        """Raises LedgerUnavailable, after at most about 2 seconds, if it does not answer."""
        with translated():
            async with asyncio.timeout(CHECK_SECONDS), self.read() as connection:
                await connection.execute(text("SELECT version_num FROM alembic_version"))
