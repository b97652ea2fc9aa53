"""Idempotency keys: for a day, a key of an owner's stands for the one job that it made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.dialects import insert
from api.database.tables import idempotency_keys as keys
from api.database.tables import jobs

KEPT_SECONDS = 24 * 3600.0
FORGOTTEN_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Claim:
    """That of requests with this key, or with this job's id, one alone makes a job."""

    fingerprint: str  # of what was asked
    key: str | None = None  # None: the client chose the job's id, and repeats that


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a key made before."""

    job: str
    fingerprint: str


class Claiming(NamedTuple):
    """A job, whose row is there already, and the key that it wants."""

    job: str
    owner: str
    created_at: float  # seconds since the epoch
    key: str
    fingerprint: str


async def find(connection: AsyncConnection, owner: str, key: str, at: float) -> Earlier | None:
    """What the key made in the day before `at`."""
    query = select(keys.c.job, keys.c.fingerprint).where(
        keys.c.owner == owner, keys.c.key == key, keys.c.created_at > at - KEPT_SECONDS
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Earlier(row.job, row.fingerprint)


async def take(connection: AsyncConnection, wanted: Sequence[Claiming]) -> dict[str, Earlier]:
    """Give each job its key; where the key has made a job, remove this one, and say which it was.

    Runs in the transaction that inserts the jobs, so that no removed one was ever seen. Postgres
    lets it wait for another transaction that takes the same key, and holds a key that was taken
    before until this transaction ends.
    """
    # In the keys' order, as any transaction takes them: two never wait for each other.
    first: dict[tuple[str, str], Claiming] = {}
    for claiming in sorted(wanted, key=lambda one: (one.owner, one.key)):
        first.setdefault((claiming.owner, claiming.key), claiming)
    write = insert(connection, keys).values([claiming._asdict() for claiming in first.values()])
    expired = keys.c.created_at <= write.excluded.created_at - KEPT_SECONDS
    await connection.execute(
        write.on_conflict_do_update(
            index_elements=[keys.c.owner, keys.c.key],
            set_={name: write.excluded[name] for name in ("fingerprint", "job", "created_at")},
            where=expired,
        )
    )
    place = tuple_(keys.c.owner, keys.c.key)
    rows = await connection.execute(select(keys).where(place.in_(list(first))))
    made = {(row.owner, row.key): Earlier(row.job, row.fingerprint) for row in rows}
    lost = {
        claiming.job: made[claiming.owner, claiming.key]
        for claiming in wanted
        if made[claiming.owner, claiming.key].job != claiming.job
    }
    if lost:
        await connection.execute(delete(jobs).where(jobs.c.id.in_(list(lost))))
    return lost


async def forget(connection: AsyncConnection, at: float) -> int:
    """Delete at most FORGOTTEN_AT_ONCE keys that had expired at `at`; how many."""
    expired = (
        select(keys.c.owner, keys.c.key)
        .where(keys.c.created_at <= at - KEPT_SECONDS)
        .limit(FORGOTTEN_AT_ONCE)
        .with_for_update(skip_locked=True)  # one that is taken anew just now stays
    )
    rows = [tuple(row) for row in await connection.execute(expired)]
    if rows:
        await connection.execute(delete(keys).where(tuple_(keys.c.owner, keys.c.key).in_(rows)))
    return len(rows)
