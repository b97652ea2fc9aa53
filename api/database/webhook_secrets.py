"""The secrets that sign webhooks: of each endpoint, and of each owner for the jobs' own."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Collection
from dataclasses import dataclass

import uuid_utils
from sqlalchemy import ColumnElement, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.tables import webhook_endpoints, webhook_secrets

_SECRET_BYTES = 32
_id, _owner, _endpoint = webhook_secrets.c.id, webhook_secrets.c.owner, webhook_secrets.c.endpoint
_expires_at = webhook_secrets.c.expires_at


@dataclass(frozen=True, slots=True)
class Signers:
    """Live secrets, newest first."""

    of_endpoints: dict[str, tuple[str, ...]]
    of_owners: dict[str, tuple[str, ...]]  # for webhooks that jobs name themselves
    states: dict[str, str]  # of the endpoints


def new_secret() -> str:
    """Standard base64 without `_`, on which Replicate's clients split."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


async def add(connection: AsyncConnection, owner: str, endpoint: str | None, at: float) -> str:
    """A new secret, shown to nobody yet. `at`: seconds since the epoch."""
    row = _row(str(uuid_utils.uuid7()), owner, endpoint, at)
    await connection.execute(insert(webhook_secrets), row)
    return str(row["secret"])


async def rotate(
    connection: AsyncConnection, owner: str, endpoint: str | None, *, at: float, overlap: float
) -> str:
    """A new secret; the one before signs beside it for `overlap` seconds more."""
    if endpoint is None:
        await default(connection, owner, at)
    statement = (
        update(webhook_secrets)
        .where(_of(owner, endpoint), _expires_at.is_(None))
        .values(expires_at=at + overlap)
    )
    await connection.execute(statement)
    return await add(connection, owner, endpoint, at)


async def default(connection: AsyncConnection, owner: str, at: float) -> str:
    """The owner's newest secret for jobs' own webhooks; made now, if there is none."""
    query = (
        select(webhook_secrets.c.secret)
        .where(_of(owner, None), _expires_at.is_(None))
        .order_by(webhook_secrets.c.created_at.desc())
        .limit(1)
    )
    found = await connection.scalar(query)
    if found is None:
        await _insert_default(connection, owner, at)
        found = await connection.scalar(query)
    return str(found)


async def signers(
    connection: AsyncConnection, *, endpoints: Collection[str], owners: Collection[str], at: float
) -> Signers:
    """What signs now. Owners without a secret are not in the reply."""
    query = (
        select(_owner, _endpoint, webhook_secrets.c.secret, webhook_endpoints.c.state)
        .outerjoin_from(webhook_secrets, webhook_endpoints)
        .where(
            or_(_endpoint.in_(endpoints), _endpoint.is_(None) & _owner.in_(owners)),
            or_(_expires_at.is_(None), _expires_at > at),
        )
        .order_by(webhook_secrets.c.created_at.desc(), _id)
    )
    found = Signers({}, {}, {})
    for row in await connection.execute(query):
        if row.endpoint is None:
            found.of_owners[row.owner] = (*found.of_owners.get(row.owner, ()), row.secret)
        else:
            found.states[row.endpoint] = row.state
            before = found.of_endpoints.get(row.endpoint, ())
            found.of_endpoints[row.endpoint] = (*before, row.secret)
    return found


def _of(owner: str, endpoint: str | None) -> ColumnElement[bool]:
    return (_owner == owner) & (_endpoint.is_(None) if endpoint is None else _endpoint == endpoint)


def _row(id: str, owner: str, endpoint: str | None, at: float) -> dict[str, object]:
    return {
        "id": id,
        "owner": owner,
        "endpoint": endpoint,
        "secret": new_secret(),
        "created_at": at,
        "expires_at": None,
    }


async def _insert_default(connection: AsyncConnection, owner: str, at: float) -> None:
    """Two that come at once make one: its id is the owner's."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = _row(f"default_{owner}", owner, None, at)
    await connection.execute(insert(webhook_secrets).on_conflict_do_nothing(), row)
