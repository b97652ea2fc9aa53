"""Which of the drivers' errors mean that the database did not answer, and which blame a row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from common.errors import LedgerUnavailable

# What a statement may raise when a value does not fit, once `translated` took the rest away.
# Drivers refuse some values themselves: text that has no UTF-8, integers beyond 64 bits.
DataError = (exc.SQLAlchemyError, ValueError, OverflowError)

# Classes of SQLSTATE: connection, invalid transaction state (a server turned read-only),
# refused login, no such database, rolled back by the server (deadlock), resources, not in the
# right state, operator intervention, system error, internal error.
_UNAVAILABLE_SQLSTATES = frozenset({"08", "25", "28", "3D", "40", "53", "55", "57", "58", "XX"})

_UNAVAILABLE_SQLITE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)


@contextmanager
def translated() -> Iterator[None]:
    """Raise LedgerUnavailable for what a driver says of its connection or server."""
    try:
        yield
    except (exc.SQLAlchemyError, OSError) as error:  # a TimeoutError is an OSError
        if not _is_unavailable(error):
            raise
        raise LedgerUnavailable(f"the database did not answer: {error}") from error


def _is_unavailable(error: exc.SQLAlchemyError | OSError) -> bool:
    if isinstance(error, OSError | exc.TimeoutError):
        return True
    if not isinstance(error, exc.DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    origin = error.orig
    if isinstance(origin, sqlite3.Error):
        code = getattr(origin, "sqlite_errorcode", None)  # unset where Python itself objects
        return code is not None and code & 0xFF in _UNAVAILABLE_SQLITE
    sqlstate = getattr(origin, "sqlstate", None)
    if sqlstate is not None:
        return sqlstate[:2] in _UNAVAILABLE_SQLSTATES
    # asyncpg refuses a value that does not fit its type with a ValueError of its own.
    return isinstance(error, exc.InterfaceError) and not isinstance(
        origin and origin.__cause__, ValueError
    )
