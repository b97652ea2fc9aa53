"""Deliveries as their owner looks at them, and has them sent again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.paging import Cursor, Page, beside, older, page_of
from api.database.tables import webhook_attempts, webhook_deliveries, webhook_endpoints

_id, _created_at = webhook_deliveries.c.id, webhook_deliveries.c.created_at
_endpoint, _state = webhook_deliveries.c.endpoint, webhook_deliveries.c.state


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One webhook on its way, or at its end."""

    id: str
    owner: str
    endpoint: str | None
    job: str | None  # None: a test
    url: str
    event: str
    state: str  # pending, delivered or exhausted
    attempts: int
    next_at: float | None  # seconds since the epoch, as is the next
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """What is None does not filter. Times are seconds since the epoch, and exclusive."""

    endpoint: str | None = None
    job: str | None = None
    state: str | None = None
    event: str | None = None
    created_after: float | None = None
    created_before: float | None = None


async def add(connection: AsyncConnection, delivery: Delivery) -> None:
    columns = {name: getattr(delivery, name) for name in Delivery.__slots__}
    await connection.execute(insert(webhook_deliveries), columns)


async def get(connection: AsyncConnection, owner: str, id: str) -> Delivery | None:
    """None for another owner's, too."""
    query = select(webhook_deliveries).where(_id == id, webhook_deliveries.c.owner == owner)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Delivery(**row._mapping)


async def attempts(connection: AsyncConnection, id: str) -> Sequence[Row[Any]]:
    """Number, at, seconds, code and reply of each, in their order."""
    kept = webhook_attempts
    query = select(kept).where(kept.c.delivery == id).order_by(kept.c.number)
    return (await connection.execute(query)).all()


async def page(
    connection: AsyncConnection,
    *,
    owner: str,
    filter: DeliveryFilter,
    cursor: Cursor | None,
    limit: int,
) -> Page[Delivery]:
    """At most `limit` of the owner's, from `cursor`, or the newest without one."""
    cursor = older(cursor)
    query = select(webhook_deliveries).where(*_filters(owner, filter))
    query = beside(query, _created_at, _id, cursor, limit + 1)
    found = [Delivery(**row._mapping) for row in await connection.execute(query)]
    return page_of(found, lambda each: (each.created_at, each.id), cursor=cursor, limit=limit)


async def send_again(
    connection: AsyncConnection, owner: str, filter: DeliveryFilter, *, at: float, most: int
) -> int:
    """Let those that ended be due at `at`, the oldest first, and return how many that are.

    Not those of endpoints that are not active: nothing would be sent.
    """
    active = select(webhook_endpoints.c.id).where(
        webhook_endpoints.c.owner == owner, webhook_endpoints.c.state == "active"
    )
    chosen = (
        select(_id)
        .where(*_filters(owner, filter), _state != "pending")
        .where(or_(_endpoint.is_(None), _endpoint.in_(active)))
        .order_by(_created_at, _id)
        .limit(most)
    )
    return await _due(connection, _id.in_(chosen), at)


async def send_one_again(connection: AsyncConnection, id: str, at: float) -> None:
    """Whatever its state."""
    await _due(connection, _id == id, at)


async def _due(connection: AsyncConnection, which: ColumnElement[bool], at: float) -> int:
    due = update(webhook_deliveries).where(which).values(state="pending", next_at=at)
    return len((await connection.execute(due.returning(_id))).all())


def _filters(owner: str, filter: DeliveryFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [webhook_deliveries.c.owner == owner]
    for name in ("endpoint", "job", "state", "event"):
        value = getattr(filter, name)
        if value is not None:
            conditions.append(webhook_deliveries.c[name] == value)
    if filter.created_after is not None:
        conditions.append(_created_at > filter.created_after)
    if filter.created_before is not None:
        conditions.append(_created_at < filter.created_before)
    return conditions
