"""How many jobs wait, by whose they are and what they asked for."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.tables import QUEUED, jobs
from common.job import Priority


class Waiting(NamedTuple):
    """What is counted together."""

    owner: str
    model: str
    priority: Priority  # as asked


async def count(connection: AsyncConnection) -> dict[Waiting, int]:
    """Every kind that has some. It walks an index of waiting jobs alone, however many ended."""
    kind = jobs.c.owner, jobs.c.model, jobs.c.priority
    query = select(*kind, func.count()).where(QUEUED).group_by(*kind)
    return {
        Waiting(owner, model, Priority(priority)): number
        for owner, model, priority, number in await connection.execute(query)
    }
