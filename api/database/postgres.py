"""The ledger in Postgres."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import asyncpg
from sqlalchemy import URL, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, PoolProxiedConnection

from api.database.database import Database
from api.database.errors import translated
from api.database.postgres_security import Security, raise_refusal, secured
from api.database.upgrade import bring_up_to_date, is_up_to_date
from common.errors import LedgerUnavailable

CONNECT_SECONDS = 2.0
COMMAND_SECONDS = 15.0
POOL_SECONDS = 10.0  # how long a caller waits for a connection while all are in use
# A client that died with its machine, or lost its way, says no goodbye. Its session holds locks,
# that of `alone` among them, until the server finds out: by default after two hours.
_FIND_OUT = (  # in 10 + 3 * 5 seconds
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
)
POOL_SIZE = 5
POOL_OVERFLOW = 10


class PostgresDatabase(Database):
    """A pool of connections. Reads commit by themselves, which saves two trips to the server."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._reading = engine.execution_options(isolation_level="AUTOCOMMIT")

    @classmethod
    async def connect(cls, url: URL) -> PostgresDatabase:
        """Use `Database.open`. Raises LedgerUnavailable, SettingsInvalid."""
        url, security = secured(url)
        engine = create_async_engine(
            url,
            connect_args={
                "timeout": CONNECT_SECONDS,
                "command_timeout": COMMAND_SECONDS,
                **security,
            },
            pool_size=POOL_SIZE,
            max_overflow=POOL_OVERFLOW,
            pool_timeout=POOL_SECONDS,
            hide_parameters=True,  # errors are logged, and rows hold links and secrets
        )
        event.listen(engine.sync_engine, "handle_error", _forget_row)
        event.listen(engine.sync_engine, "connect", _let_find_out)
        event.listen(engine.sync_engine, "checkout", _refuse_closed)
        database = cls(engine)
        try:
            async with database.read() as connection:
                ready = await is_up_to_date(connection)
            if not ready:
                await _upgrade(url, security)
        except BaseException as error:
            await database.close()
            if isinstance(error, LedgerUnavailable):
                raise_refusal(url, error)
            raise
        return database

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        with translated():
            async with self._reading.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        with translated():
            async with self._engine.begin() as connection:
                yield connection

    def statement(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self.read()

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[bool]:
        async with self.write() as connection:
            statement = text("SELECT pg_try_advisory_xact_lock(:key)")
            mine = await connection.scalar(statement, {"key": _lock_key(name)})
            yield bool(mine)

    async def close(self) -> None:
        await self._engine.dispose()


async def _upgrade(url: URL, security: Security) -> None:
    async with _unhurried(url, security) as connection:
        statement = text("SELECT pg_advisory_xact_lock(:key)")
        await connection.execute(statement, {"key": _lock_key("upgrade")})
        await bring_up_to_date(connection)


@asynccontextmanager
async def unhurried(url: URL) -> AsyncIterator[AsyncConnection]:
    """A transaction as long as it likes. Raises LedgerUnavailable, also from within."""
    async with _unhurried(*secured(url)) as connection:
        yield connection


@asynccontextmanager
async def _unhurried(url: URL, security: Security) -> AsyncIterator[AsyncConnection]:
    """On a connection of its own: a migration of many rows, or the wait for one, may be long."""
    engine = create_async_engine(
        url,
        connect_args={"timeout": CONNECT_SECONDS, **security},
        poolclass=NullPool,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "handle_error", _forget_row)
    try:
        with translated():
            async with engine.begin() as connection:
                yield connection
    finally:
        await engine.dispose()


def _lock_key(name: str) -> int:
    """A lock's name as the signed 64 bits that Postgres takes."""
    digest = hashlib.sha256(f"darkroom.{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _forget_row(context: ExceptionContext) -> None:
    """Postgres quotes the row that it refused, which no log may show, as with the parameters."""
    refusal = context.original_exception.__cause__
    if isinstance(refusal, asyncpg.PostgresError):
        refusal.detail = None


def _let_find_out(raw: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    raw.run_async(lambda connection: connection.execute(_FIND_OUT))


def _refuse_closed(
    raw: DBAPIConnection, _entry: ConnectionPoolEntry, _fairy: PoolProxiedConnection
) -> None:
    """After a restart of the server its old connections are replaced, without asking it first."""
    if raw.driver_connection.is_closed():
        raise InvalidatePoolError("the server closed this connection")
