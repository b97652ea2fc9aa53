"""Removing what ended jobs took and made. The rows stay, without it.

The ledger goes first: from the commit on nobody is promised the objects any more. They are deleted
after it; those that a crash leaves behind belong to no row, and are swept as orphans.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from sqlalchemy import and_, delete, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.tables import KEPT, files, jobs
from common.job import Output, is_url
from common.object_key import OUTPUTS, maker_of

_inputs = msgspec.json.Decoder(dict[str, str])
_output = msgspec.json.Decoder(Output)


async def expired(connection: AsyncConnection, *, before: float, limit: int) -> list[str]:
    """Jobs that ended before that time and still have what they took and made, oldest first."""
    query = select(jobs.c.id).where(KEPT, jobs.c.completed_at < before)
    return list(
        await connection.scalars(query.order_by(jobs.c.completed_at, jobs.c.id).limit(limit))
    )


async def remove(
    connection: AsyncConnection, ids: Collection[str], now: float
) -> dict[str, set[str]]:
    """Let go of what these jobs took and made: the keys of their objects, by job.

    Those that have not ended are passed over. The rows are locked first, in the order of ids:
    whoever wants to show one of their objects too locks one of them as well, and finds it removed.
    Look after the commit for others who show them.
    """
    query = select(jobs.c.id, jobs.c.inputs, jobs.c.output).where(jobs.c.id.in_(ids), KEPT)
    rows = (await connection.execute(query.order_by(jobs.c.id).with_for_update())).all()
    if rows:
        emptied = {"inputs": "{}", "parameters": "{}", "output": None, "logs": "", "progress": None}
        gone = update(jobs).where(jobs.c.id.in_([row.id for row in rows]))
        await connection.execute(gone.values(removed_at=now, **emptied))
    return {row.id: _objects(row.inputs, row.output) for row in rows}


async def wanted(connection: AsyncConnection, keys: Collection[str]) -> set[str]:
    """Those of the keys that somebody may still read, or that may still become a result."""
    by_maker: dict[str, set[str]] = {}
    for key in keys:
        by_maker.setdefault(maker_of(key), set()).add(key)
    found = set(await connection.scalars(select(files.c.key).where(files.c.id.in_(by_maker))))
    columns = (jobs.c.id, jobs.c.completed_at, jobs.c.inputs, jobs.c.output)
    for row in await connection.execute(select(*columns).where(jobs.c.id.in_(by_maker))):
        found |= _objects(row.inputs, row.output)
        if row.completed_at is None:
            found |= {key for key in by_maker[row.id] if key.startswith(OUTPUTS)}
    found &= set(keys)
    return found | await _taken_over(connection, set(keys) - found)


async def _taken_over(connection: AsyncConnection, keys: Collection[str]) -> set[str]:
    """Those that a job shows which took the result over from the job that made it."""
    makers = {maker_of(key) for key in keys}
    if not makers:
        return set()
    heirs = jobs.alias()
    of_one_maker = and_(heirs.c.owner == jobs.c.owner, heirs.c.reuse_key == jobs.c.reuse_key)
    query = (
        select(heirs.c.inputs, heirs.c.output)
        .distinct()
        .join_from(jobs, heirs, of_one_maker)
        .where(
            jobs.c.id.in_(makers),
            heirs.c.reuse_key.is_not(None),
            heirs.c.state == literal_column("'succeeded'"),
            heirs.c.removed_at.is_(None),
        )
    )
    shown: set[str] = set()
    for row in await connection.execute(query):
        shown |= _objects(row.inputs, row.output)
    return shown.intersection(keys)


async def expired_files(connection: AsyncConnection, *, before: float, limit: int) -> list[str]:
    """Files that were uploaded before that time, oldest first."""
    query = select(files.c.id).where(files.c.created_at < before)
    return list(await connection.scalars(query.order_by(files.c.created_at).limit(limit)))


async def remove_files(connection: AsyncConnection, ids: Collection[str]) -> set[str]:
    """Forget the files: the keys of their objects."""
    gone = delete(files).where(files.c.id.in_(ids)).returning(files.c.key)
    return set(await connection.scalars(gone))


def _objects(inputs: str, output: str | None) -> set[str]:
    """What lies in the store, of a row's two columns."""
    made = () if output is None else _output.decode(output).files
    taken = (place for place in _inputs.decode(inputs).values() if not is_url(place))
    return {*taken, *(file.key for file in made)}
