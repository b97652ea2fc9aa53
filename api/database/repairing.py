"""What a repair asks of the ledger and mends in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Column, ColumnElement, Table, delete, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.database import Database
from api.database.tables import KEPT, UNENDED, jobs, metadata
from common.job import JobState, Output, is_url

BATCH = 500
SAMPLES = 5

_inputs = msgspec.json.Decoder(dict[str, str])
_output = msgspec.json.Decoder(Output)


@dataclass(frozen=True, slots=True)
class Referrer:
    """A job, and the objects that it needs."""

    id: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Strays:
    """Rows of a table that name a job which does not exist."""

    table: str
    count: int
    samples: list[str]  # the jobs' ids


async def kept_outputs(database: Database) -> AsyncIterator[list[Referrer]]:
    """Jobs that succeeded, with the files that their results are made of, batch by batch."""
    made = (KEPT, jobs.c.state == JobState.SUCCEEDED.value, jobs.c.output.is_not(None))
    async for rows in _batches(database, jobs.c.output, made):
        found = [
            Referrer(id, tuple(file.key for file in _output.decode(o).files)) for id, o in rows
        ]
        yield [one for one in found if one.keys]


async def unended_inputs(database: Database) -> AsyncIterator[list[Referrer]]:
    """Jobs that have not ended, with their inputs that lie in our store, batch by batch."""
    async for rows in _batches(database, jobs.c.inputs, (UNENDED,)):
        found = [
            Referrer(id, tuple(key for key in _inputs.decode(i).values() if not is_url(key)))
            for id, i in rows
        ]
        yield [one for one in found if one.keys]


async def strays(connection: AsyncConnection) -> list[Strays]:
    """Rows without their job. A foreign key forbids them; a database that was mended by hand, or
    restored in part, may have them all the same."""
    found = []
    for table, column in _dependents():
        query = select(column).where(_is_stray(column))
        count = await connection.scalar(select(func.count()).select_from(query.subquery()))
        if count:
            samples = await connection.scalars(query.distinct().limit(SAMPLES))
            found.append(Strays(table.name, count, list(samples)))
    return found


async def delete_strays(connection: AsyncConnection) -> None:
    """Delete all of them."""
    for table, column in _dependents():
        await connection.execute(delete(table).where(_is_stray(column)))


async def _batches(
    database: Database, column: Column[Any], conditions: Collection[ColumnElement[bool]]
) -> AsyncIterator[list[tuple[str, str]]]:
    """Ids with that column, in the order of ids, each batch read when it is asked for."""
    last = ""
    while True:
        query = select(jobs.c.id, column).where(*conditions, jobs.c.id > last)
        async with database.read() as connection:
            rows = (await connection.execute(query.order_by(jobs.c.id).limit(BATCH))).all()
        if not rows:
            return
        last = rows[-1].id
        yield [(row[0], row[1]) for row in rows]


def _dependents() -> list[tuple[Table, Column[Any]]]:
    """Tables whose rows belong to a job, with the column that says to which."""
    return [
        (table, key.parent)
        for table in metadata.sorted_tables
        for key in table.foreign_keys
        if key.column.table is jobs
    ]


def _is_stray(column: Column[Any]) -> ColumnElement[bool]:
    return column.is_not(None) & ~exists().where(jobs.c.id == column)
