"""What scalers decided, and what operators changed while they ran."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, delete, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.dialects import insert
from api.database.paging import Cursor, Page, beside, page_of
from api.database.rows import to_json
from api.database.tables import scaling_decisions, scaling_settings
from common.scaling import ScalingDecided, ScalingEvent, ScalingSettings

_ROW = 1
_settings = msgspec.json.Decoder(ScalingSettings)


async def record(
    connection: AsyncConnection, said: Sequence[ScalingEvent]
) -> ScalingSettings | None:
    """Keep what was decided; decisions kept before change nothing.

    Returns the settings if a scaler that started asks for them.
    """
    decisions = [one for one in said if isinstance(one, ScalingDecided)]
    if decisions:
        rows = [msgspec.structs.asdict(decision) for decision in decisions]
        statement = insert(connection, scaling_decisions).on_conflict_do_nothing()
        await connection.execute(statement, rows)
    return await settings(connection) if len(decisions) < len(said) else None


async def settings(connection: AsyncConnection) -> ScalingSettings:
    """As they are now."""
    row = (await connection.execute(select(scaling_settings))).one_or_none()
    return ScalingSettings(revision=0) if row is None else _settings.decode(row.settings)


async def change(
    connection: AsyncConnection, by: Callable[[ScalingSettings], ScalingSettings]
) -> ScalingSettings:
    """The settings that `by` makes of those that are, under the next revision."""
    first = {"id": _ROW, "revision": 0, "settings": to_json(ScalingSettings(revision=0))}
    await connection.execute(
        insert(connection, scaling_settings).values(first).on_conflict_do_nothing()
    )
    # The row is locked from here on, so that no other change falls between.
    counted = update(scaling_settings).values(revision=scaling_settings.c.revision + 1)
    row = (await connection.execute(counted.returning(*scaling_settings.c))).one()
    changed = msgspec.structs.replace(by(_settings.decode(row.settings)), revision=row.revision)
    await connection.execute(update(scaling_settings).values(settings=to_json(changed)))
    return changed


async def page(
    connection: AsyncConnection, *, model: str | None, cursor: Cursor | None, limit: int
) -> Page[ScalingDecided]:
    """At most `limit` decisions next to `cursor`, or the latest without one."""
    query = select(scaling_decisions)
    if model is not None:
        query = query.where(scaling_decisions.c.model == model)
    at, id = scaling_decisions.c.at, scaling_decisions.c.id
    rows = await connection.execute(beside(query, at, id, cursor, limit + 1))
    found = [_decision(row) for row in rows]
    return page_of(found, lambda one: (one.at, one.id), cursor=cursor, limit=limit)


async def latest(connection: AsyncConnection) -> dict[str, ScalingDecided]:
    """The last decision of each model."""
    model, at = scaling_decisions.c.model, scaling_decisions.c.at
    last = select(model, func.max(at)).group_by(model)
    query = select(scaling_decisions).where(tuple_(model, at).in_(last))
    return {row.model: _decision(row) for row in await connection.execute(query)}


async def forget(connection: AsyncConnection, *, before: float) -> None:
    """Remove the decisions from before that time."""
    await connection.execute(delete(scaling_decisions).where(scaling_decisions.c.at < before))


def _decision(row: Row[Any]) -> ScalingDecided:
    return ScalingDecided(**row._mapping)
