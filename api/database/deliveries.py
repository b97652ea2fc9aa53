"""Webhooks on their way: which are due, and what came of each attempt."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Double,
    Integer,
    Text,
    bindparam,
    case,
    exists,
    func,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.database import Database
from api.database.tables import webhook_attempts, webhook_deliveries, webhook_endpoints

_id, _url = webhook_deliveries.c.id, webhook_deliveries.c.url
_next_at, _state = webhook_deliveries.c.next_at, webhook_deliveries.c.state


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A delivery that one process has taken to send."""

    id: str
    owner: str
    endpoint: str | None
    job: str | None  # None: a test
    url: str
    event: str
    attempts: int  # that were made before
    created_at: float  # seconds since the epoch

    @property
    def host(self) -> str:
        """The receiver, with its port: what has an outage of its own."""
        return self.url.split("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one attempt, and what follows from it."""

    delivery: str
    number: int  # of the attempt, from 1
    at: float  # seconds since the epoch
    seconds: float
    code: int | None
    reply: str
    state: str
    next_at: float | None
    off: str | None = None  # the endpoint that is turned off by it


async def claim(
    database: Database,
    *,
    now: float,
    until: float,
    most: int,
    no_hosts: Collection[str],
    no_owners: Collection[str],
) -> list[Due]:
    """At most `most` of those that are due, oldest first, which nobody else gets before `until`.

    None of `no_hosts`, and none of `no_owners`. Raises LedgerUnavailable.
    """
    async with database.read() as connection:
        postgres = connection.dialect.name == "postgresql"
        if not postgres and not await connection.scalar(_any_due, {"now": now}):
            return []  # SQLite would wait for its one writer, only to find nothing
    due = (
        select(_id)
        .where(_next_at <= now, _host(postgres).not_in(list(no_hosts)))
        .where(webhook_deliveries.c.owner.not_in(list(no_owners)))
        .order_by(_next_at)
        .limit(most)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    columns = [webhook_deliveries.c[name] for name in Due.__slots__]
    taken = update(webhook_deliveries).where(_id.in_(select(due.c.id))).values(next_at=until)
    async with database.statement() as connection:
        rows = await connection.execute(taken.returning(*columns))
        return [Due(**row._mapping) for row in rows]


async def pending(connection: AsyncConnection) -> tuple[int, float | None]:
    """How many are still to be made, and when the first of them is due."""
    found = select(func.count(), func.min(_next_at)).where(_next_at.is_not(None))
    count, next_at = (await connection.execute(found)).one()
    return count, next_at


async def put_off(connection: AsyncConnection, ids: Collection[str], until: float) -> None:
    """Let them be due at `until`, if they are still to be sent."""
    waiting = update(webhook_deliveries).where(_id.in_(ids), _state == "pending")
    await connection.execute(waiting.values(next_at=until))


async def keep(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> None:
    """Write down attempts and what follows. Deliveries that are gone by now are passed over."""
    rows = [
        {
            "id_": outcome.delivery,
            "number_": outcome.number,
            "at_": outcome.at,
            "seconds_": outcome.seconds,
            "code_": outcome.code,
            "reply_": outcome.reply,
            "state_": outcome.state,
            "next_": outcome.next_at,
        }
        for outcome in sorted(outcomes, key=lambda outcome: outcome.delivery)
    ]
    await connection.execute(_settle, rows)
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    names = [column.name for column in webhook_attempts.columns]
    kept = insert(webhook_attempts).from_select(names, _attempt).on_conflict_do_nothing()
    await connection.execute(kept, rows)
    for outcome in outcomes:
        if outcome.off is not None:
            await turn_off(connection, outcome.off, "its receiver answered 410 Gone")


async def turn_off(connection: AsyncConnection, endpoint: str, reason: str) -> None:
    """Send nothing to the endpoint any more: what waits for it is exhausted."""
    off = update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint)
    await connection.execute(off.values(state="off", reason=reason))
    waiting = update(webhook_deliveries).where(
        webhook_deliveries.c.endpoint == endpoint, _state == "pending"
    )
    await connection.execute(waiting.values(state="exhausted", next_at=None))


def _host(postgres: bool) -> ColumnElement[str]:
    """`Due.host` of a row."""
    if postgres:
        return func.split_part(_url, "/", 3)
    rest = func.substr(_url, func.instr(_url, "://") + 3)
    return case(
        (func.instr(rest, "/") > 0, func.substr(rest, 1, func.instr(rest, "/") - 1)), else_=rest
    )


_any_due = select(exists().where(_next_at <= bindparam("now")))
_settle = (
    update(webhook_deliveries)
    .where(_id == bindparam("id_"), webhook_deliveries.c.attempts < bindparam("number_"))
    .values(attempts=bindparam("number_"), state=bindparam("state_"), next_at=bindparam("next_"))
)
# The update above holds the rows that there still are, so that they stay until the commit.
_attempt = select(
    _id,
    bindparam("number_", type_=Integer),
    bindparam("at_", type_=Double),
    bindparam("seconds_", type_=Double),
    bindparam("code_", type_=Integer),
    bindparam("reply_", type_=Text),
).where(_id == bindparam("id_"))
