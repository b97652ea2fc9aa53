"""What a ledger looks like from outside, for diagnosis: nothing is made, nothing is migrated."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from api.database.postgres_security import secured
from api.database.upgrade import HEAD, version_of
from api.database.url import parsed
from common.errors import LedgerUnavailable, SettingsInvalid

_CONNECT_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCondition:
    """What answers at the ledger's address, and how old its tables are."""

    server: str
    revision: str | None  # None: there are no tables of ours
    newest: str  # the revision that this code needs
    now: float | None  # the server's clock, in seconds since the epoch; None: it has the host's


async def condition_of(url: str) -> LedgerCondition:
    """Raises LedgerUnavailable, and SettingsInvalid for a URL that makes no sense."""
    address = parsed(url)
    sqlite = address.drivername == "sqlite+aiosqlite"
    if not sqlite and address.drivername != "postgresql+asyncpg":
        raise SettingsInvalid(
            "DARKROOM_DATABASE_URL: it is neither sqlite+aiosqlite:///PATH nor "
            "postgresql+asyncpg://USER@HOST/NAME"
        )
    if sqlite and not await asyncio.to_thread(Path(address.database or "").is_file):
        raise LedgerUnavailable(f"there is no file {address.database}")
    try:
        return await _look(address, sqlite)
    except (SQLAlchemyError, OSError) as error:
        origin = getattr(error, "orig", None) or error
        raise LedgerUnavailable(str(origin) or type(origin).__name__) from error


async def _look(url: URL, sqlite: bool) -> LedgerCondition:
    url, security = (url, {}) if sqlite else secured(url)
    options = {"timeout": _CONNECT_SECONDS, **security}
    engine = create_async_engine(url, connect_args=options, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return LedgerCondition(
                server=await _server(connection, sqlite),
                revision=await connection.run_sync(version_of),
                newest=HEAD,
                now=None if sqlite else await _clock(connection),
            )
    finally:
        await engine.dispose()


async def _server(connection: AsyncConnection, sqlite: bool) -> str:
    if sqlite:
        return f"SQLite {await connection.scalar(text('SELECT sqlite_version()'))}"
    return f"PostgreSQL {await connection.scalar(text('SHOW server_version'))}"


async def _clock(connection: AsyncConnection) -> float:
    asked = text("SELECT extract(epoch FROM clock_timestamp())::float8")
    return float(await connection.scalar(asked) or 0.0)
