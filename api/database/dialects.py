"""What SQLite and Postgres both know, and SQLAlchemy has apart."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Table, TextClause, text
from sqlalchemy import insert as plain_insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

_encoder = msgspec.json.Encoder()


def insert(connection: AsyncConnection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Both dialects know ON CONFLICT, each by an insert of its own."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


async def insert_rows(
    connection: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]
) -> None:
    """Insert rows of equal columns, in their order, by one statement.

    Postgres gets them as one text of JSON, for which this process works half as long as for a
    statement with parameters for each row.
    """
    if connection.dialect.name == "postgresql":
        statement = _insert_from_json(table.name, tuple(rows[0]))
        await connection.execute(statement, {"rows": _encoder.encode(rows).decode()})
    else:
        await connection.execute(plain_insert(table), rows)


@lru_cache(maxsize=16)
def _insert_from_json(table: str, columns: tuple[str, ...]) -> TextClause:
    names = ", ".join(columns)
    return text(
        f"INSERT INTO {table} ({names}) "
        f"SELECT {names} FROM json_populate_recordset(NULL::{table}, CAST(:rows AS json))"
    )
