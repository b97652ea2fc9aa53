"""API keys in the ledger. They are revoked, never deleted: their jobs keep an owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from api.access.keys import ApiKey, Scope
from api.database import dialects
from api.database.rows import to_json
from api.database.tables import api_keys

_scopes = msgspec.json.Decoder(frozenset[Scope])


async def add(connection: AsyncConnection, key: ApiKey) -> None:
    await connection.execute(insert(api_keys), _columns_of(key))


async def add_unless_known(connection: AsyncConnection, key: ApiKey) -> None:
    """Nothing if a key of this id ever was, revoked or not."""
    unless_known = dialects.insert(connection, api_keys).on_conflict_do_nothing()
    await connection.execute(unless_known, _columns_of(key))


async def get(connection: AsyncConnection, key_id: str) -> ApiKey | None:
    row = (await connection.execute(select(api_keys).where(api_keys.c.id == key_id))).one_or_none()
    return None if row is None else _key_of(row)


async def every(connection: AsyncConnection) -> list[ApiKey]:
    """All keys that ever were, oldest first."""
    query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
    return [_key_of(row) for row in await connection.execute(query)]


async def any_there(connection: AsyncConnection) -> bool:
    return (await connection.execute(select(api_keys.c.id).limit(1))).first() is not None


async def owners(connection: AsyncConnection) -> list[str]:
    """Whoever has, or had, a key."""
    query = select(api_keys.c.owner).distinct().order_by(api_keys.c.owner)
    return list((await connection.execute(query)).scalars())


async def revoke(connection: AsyncConnection, key_id: str, *, at: float) -> None:
    """End the key now. One that was revoked before keeps the time of that."""
    mine = api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)
    await connection.execute(update(api_keys).where(*mine).values(revoked_at=at))


async def let_expire(connection: AsyncConnection, key_id: str, *, at: float) -> None:
    """End the key at that time, if it would live longer."""
    longer = or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > at)
    await connection.execute(
        update(api_keys).where(api_keys.c.id == key_id, longer).values(expires_at=at)
    )


async def used(connection: AsyncConnection, last: Mapping[str, float]) -> None:
    """Note when these keys were used last (id -> when)."""
    rows = [{"key": key, "at": at} for key, at in sorted(last.items())]
    statement = update(api_keys).where(api_keys.c.id == bindparam("key"))
    await connection.execute(statement.values(last_used_at=bindparam("at")), rows)


def _columns_of(key: ApiKey) -> dict[str, Any]:
    columns = {name: getattr(key, name) for name in ApiKey.__slots__}
    return {**columns, "scopes": to_json(sorted(key.scopes))}


def _key_of(row: Row[Any]) -> ApiKey:
    columns = dict(row._mapping)
    return ApiKey(**{**columns, "scopes": _scopes.decode(columns["scopes"])})
