"""What the webhooks' tests put into a ledger, and what they find there."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, select

from api.database.database import Database
from api.database.rows import to_json
from api.database.tables import webhook_deliveries, webhook_endpoints


async def new_endpoint(
    database: Database,
    id: str,
    *,
    owner: str = "local",
    url: str = "https://example.org/all",
    events: tuple[str, ...] = ("completed",),
    state: str = "active",
) -> None:
    """A registered endpoint without a secret."""
    row = {
        "id": id,
        "owner": owner,
        "url": url,
        "events": to_json(events),
        "state": state,
        "reason": "",
        "created_at": 1.0,
    }
    async with database.write() as connection:
        await connection.execute(insert(webhook_endpoints), row)


async def deliveries(database: Database) -> list[dict[str, Any]]:
    """All rows, in the order of their ids."""
    query = select(webhook_deliveries).order_by(webhook_deliveries.c.id)
    async with database.read() as connection:
        return [dict(row._mapping) for row in await connection.execute(query)]
