"""Registered endpoints of webhooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.paging import Cursor, Page, beside, older, page_of
from api.database.rows import to_json
from api.database.tables import webhook_deliveries, webhook_endpoints

_words = msgspec.json.Decoder(tuple[str, ...])
_created_at, _id = webhook_endpoints.c.created_at, webhook_endpoints.c.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where an owner wants to be told of all jobs."""

    id: str
    owner: str
    url: str
    events: tuple[str, ...]
    state: str = "active"  # or paused, or off
    reason: str = ""  # why it is off
    created_at: float  # seconds since the epoch


async def add(connection: AsyncConnection, endpoint: Endpoint) -> None:
    columns = {name: getattr(endpoint, name) for name in Endpoint.__slots__}
    columns["events"] = to_json(endpoint.events)
    await connection.execute(insert(webhook_endpoints), columns)


async def count(connection: AsyncConnection, owner: str) -> int:
    """How many the owner has."""
    query = select(func.count()).where(webhook_endpoints.c.owner == owner)
    return int(await connection.scalar(query) or 0)


async def get(connection: AsyncConnection, owner: str, id: str) -> Endpoint | None:
    """None for another owner's, too."""
    row = (await connection.execute(select(webhook_endpoints).where(_of(owner, id)))).one_or_none()
    return None if row is None else _endpoint_of(row)


async def page(
    connection: AsyncConnection, *, owner: str, cursor: Cursor | None, limit: int
) -> Page[Endpoint]:
    """At most `limit` of the owner's, from `cursor`, or the newest without one."""
    cursor = older(cursor)
    query = select(webhook_endpoints).where(webhook_endpoints.c.owner == owner)
    query = beside(query, _created_at, _id, cursor, limit + 1)
    found = [_endpoint_of(row) for row in await connection.execute(query)]
    return page_of(found, lambda each: (each.created_at, each.id), cursor=cursor, limit=limit)


async def pause(connection: AsyncConnection, owner: str, id: str) -> None:
    """Make nothing new for it, and send nothing. One that is off stays so."""
    active = update(webhook_endpoints).where(_of(owner, id), webhook_endpoints.c.state == "active")
    await connection.execute(active.values(state="paused"))


async def resume(connection: AsyncConnection, owner: str, id: str, at: float) -> None:
    """Make it active, whether it was paused or off; what waits for it is due at `at`."""
    active = update(webhook_endpoints).where(_of(owner, id)).values(state="active", reason="")
    await connection.execute(active)
    waiting = update(webhook_deliveries).where(
        webhook_deliveries.c.endpoint == id,
        webhook_deliveries.c.owner == owner,
        webhook_deliveries.c.state == "pending",
    )
    await connection.execute(waiting.values(next_at=at))


async def remove(connection: AsyncConnection, owner: str, id: str) -> None:
    """With its secrets and deliveries."""
    await connection.execute(delete(webhook_endpoints).where(_of(owner, id)))


def _endpoint_of(row: Row[Any]) -> Endpoint:
    return Endpoint(**{**row._mapping, "events": _words.decode(row.events)})


def _of(owner: str, id: str) -> ColumnElement[bool]:
    return (_id == id) & (webhook_endpoints.c.owner == owner)
