"""Removing what ended jobs took and made. The rows stay, without it.

The ledger goes first: from the commit on nobody is promised the objects any more. They are deleted
after it; those that a crash leaves behind belong to no row, and are swept as orphans.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import msgspec
from sqlalchemy import and_, delete, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.rows import to_json
from api.database.tables import KEPT, STORED_INPUT, files, jobs
from common.job import Output

INPUTS, OUTPUTS = "inputs/", "outputs/"

_inputs = msgspec.json.Decoder(dict[str, str])
_output = msgspec.json.Decoder(Output)


@dataclass(frozen=True, slots=True)
class Reusable:
    """By what other jobs are found that took over a result."""

    owner: str
    reuse_key: str
    output: str  # JSON, as all of them have it


@dataclass(frozen=True, slots=True)
class Removed:
    """A job whose inputs and results the ledger has let go of."""

    id: str
    inputs: tuple[str, ...]  # object keys
    outputs: tuple[str, ...]
    reusable: Reusable | None


async def expired(connection: AsyncConnection, *, before: float, limit: int) -> list[str]:
    """Jobs that ended before that time and still have what they took and made, oldest first."""
    query = select(jobs.c.id).where(KEPT, jobs.c.completed_at < before)
    return list(
        await connection.scalars(query.order_by(jobs.c.completed_at, jobs.c.id).limit(limit))
    )


async def remove(connection: AsyncConnection, ids: Collection[str], now: float) -> list[Removed]:
    """Let go of what these jobs took and made; those that have not ended are passed over.

    The rows are locked first, in the order of ids: whoever wants to refer to one of their objects
    anew locks one of them, too, and finds it removed. Look for other referrers after the commit.
    """
    columns = (jobs.c.id, jobs.c.owner, jobs.c.inputs, jobs.c.output, jobs.c.reuse_key)
    query = select(*columns).where(jobs.c.id.in_(ids), KEPT).order_by(jobs.c.id)
    rows = (await connection.execute(query.with_for_update())).all()
    if rows:
        emptied = {"inputs": "{}", "parameters": "{}", "output": None, "logs": "", "progress": None}
        gone = update(jobs).where(jobs.c.id.in_([row.id for row in rows]))
        await connection.execute(gone.values(removed_at=now, **emptied))
    return [
        Removed(
            id=row.id,
            inputs=tuple(
                key for key in _inputs.decode(row.inputs).values() if key.startswith(INPUTS)
            ),
            outputs=_files_of(row.output),
            reusable=Reusable(row.owner, row.reuse_key, row.output)
            if row.reuse_key and row.output
            else None,
        )
        for row in rows
    ]


async def referred_inputs(connection: AsyncConnection, keys: Collection[str]) -> set[str]:
    """Those of the keys that a job or a file still refers to."""
    if not keys:
        return set()
    by_inputs = {to_json({"image": key}): key for key in keys}
    of_jobs = select(jobs.c.inputs).distinct().where(STORED_INPUT, jobs.c.inputs.in_(by_inputs))
    of_files = select(files.c.key).distinct().where(files.c.key.in_(keys))
    found = {by_inputs[inputs] for inputs in await connection.scalars(of_jobs)}
    return found.union(await connection.scalars(of_files))


async def is_reused(connection: AsyncConnection, reusable: Reusable) -> bool:
    """Whether another job still shows this result as its own."""
    same = select(jobs.c.id).where(
        jobs.c.owner == reusable.owner,
        jobs.c.reuse_key == reusable.reuse_key,
        jobs.c.state == literal_column("'succeeded'"),
        jobs.c.removed_at.is_(None),
        jobs.c.output == reusable.output,
    )
    return await connection.scalar(same.limit(1)) is not None


async def wanted_outputs(connection: AsyncConnection, keys: Collection[str]) -> set[str]:
    """Those of the keys that somebody may still read, or that may still become a result."""
    by_job: dict[str, set[str]] = {}
    for key in keys:
        by_job.setdefault(key.split("/")[1], set()).add(key)
    columns = (jobs.c.id, jobs.c.owner, jobs.c.completed_at, jobs.c.output, jobs.c.reuse_key)
    wanted: set[str] = set()
    for row in await connection.execute(select(*columns).where(jobs.c.id.in_(by_job))):
        if row.completed_at is None:
            wanted |= by_job[row.id]
        else:
            wanted |= by_job[row.id].intersection(_files_of(row.output))
    left = set(keys) - wanted
    return wanted | await _taken_over(connection, left)


async def _taken_over(connection: AsyncConnection, keys: Collection[str]) -> set[str]:
    """Those that a job shows which took the result over from the job that made it."""
    makers = {key.split("/")[1] for key in keys}
    if not makers:
        return set()
    heirs = jobs.alias()
    of_one_maker = and_(heirs.c.owner == jobs.c.owner, heirs.c.reuse_key == jobs.c.reuse_key)
    query = (
        select(heirs.c.output)
        .distinct()
        .join_from(jobs, heirs, of_one_maker)
        .where(
            jobs.c.id.in_(makers),
            heirs.c.reuse_key.is_not(None),
            heirs.c.state == literal_column("'succeeded'"),
            heirs.c.removed_at.is_(None),
        )
    )
    shown = {key for output in await connection.scalars(query) for key in _files_of(output)}
    return shown.intersection(keys)


async def expired_files(connection: AsyncConnection, *, before: float, limit: int) -> list[str]:
    """Files that were uploaded before that time, oldest first."""
    query = select(files.c.id).where(files.c.created_at < before)
    return list(await connection.scalars(query.order_by(files.c.created_at).limit(limit)))


async def remove_files(connection: AsyncConnection, ids: Collection[str]) -> None:
    """Forget the files. Their bytes, if no job shares them, become orphans."""
    await connection.execute(delete(files).where(files.c.id.in_(ids)))


def _files_of(output: str | None) -> tuple[str, ...]:
    return () if output is None else tuple(file.key for file in _output.decode(output).files)
