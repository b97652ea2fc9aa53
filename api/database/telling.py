"""Webhooks that have to be sent, as rows that come into being with what they tell of.

They are made by the statement, or in the transaction, that moves the job: what was committed is
sent, and what was rolled back is not. A row's id says what it tells, so that nothing is told twice.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Select,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.tables import jobs, webhook_deliveries, webhook_endpoints

EVENTS = ("start", "output", "logs", "completed")
# A job's output and its logs come with its end: without a filter the end alone is told.
DEFAULT_EVENTS = ("completed",)

_ACTIVE = webhook_endpoints.c.state == literal_column("'active'")
_FILLED = ["id", "owner", "endpoint", "job", "url", "event", "state", "attempts"]
_FILLED += ["next_at", "created_at"]
# What a source of `insert_of` has to have.
TOLD_COLUMNS = (
    jobs.c.id,
    jobs.c.owner,
    jobs.c.webhook,
    jobs.c.webhook_events,
    jobs.c.output,
    jobs.c.logs,
)


def _word(text: str) -> ColumnElement[str]:
    return literal_column(f"'{text}'")


def _among(event: ColumnElement[str], names: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the JSON list of names holds this one. None: the default."""
    default = _word("".join(f'"{name}"' for name in DEFAULT_EVENTS))
    return func.coalesce(names, default).like(_word('%"').concat(event).concat(_word('"%')))


def _among_any(events: Collection[str], names: ColumnElement[Any]) -> ColumnElement[bool]:
    return or_(*(_among(_word(event), names) for event in events))


def _heard(events: Collection[str]) -> ColumnElement[bool]:
    """Of a row of `jobs`: whether a webhook hears one of these events of it."""
    endpoints = exists().where(
        # In a RETURNING of SQLite the column itself would lose its table's name.
        webhook_endpoints.c.owner == literal_column("jobs.owner"),
        _ACTIVE,
        _among_any(events, webhook_endpoints.c.events),
    )
    own = and_(jobs.c.webhook.is_not(None), _among_any(events, jobs.c.webhook_events))
    return or_(own, endpoints)


START_HEARD = _heard(EVENTS[:1]).label("heard")
END_HEARD = _heard(EVENTS[1:]).label("heard")


def insert_of(source: FromClause, dialect: str, *, started: bool) -> Any:
    """The insert of what is to be told of the jobs of `source`; bind `told_at`, in seconds."""
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    rows = _told(source, started=started)
    return insert(webhook_deliveries).from_select(_FILLED, rows).on_conflict_do_nothing()


async def tell(
    connection: AsyncConnection, ids: Collection[str], *, started: bool, at: float
) -> None:
    """Make the rows for jobs that have just moved, in the transaction that moved them."""
    if ids:
        statement = _INSERTS[connection.dialect.name, started]
        await connection.execute(statement, {"ids": list(ids), "told_at": at})


def _happened(source: FromClause, *, started: bool) -> tuple[FromClause, ColumnElement[bool]]:
    """The events that a start, or an end, of a job can be, and which of them this one was."""
    if started:
        return select(_word("start").label("event")).subquery("happened"), true()
    names = [select(_word(name).label("event")) for name in EVENTS[1:]]
    events = union_all(*names).subquery("happened")
    event = events.c.event
    return events, or_(
        event == _word("completed"),
        and_(event == _word("output"), source.c.output.is_not(None)),
        and_(event == _word("logs"), source.c.logs != _word("")),
    )


def _listening(source: FromClause) -> CTE:
    """The owners' endpoints, held until the commit: one that is just deleted is not among them."""
    return (
        select(*(webhook_endpoints.c[name] for name in ("id", "owner", "url", "events")))
        .where(webhook_endpoints.c.owner.in_(select(source.c.owner)), _ACTIVE)
        .with_for_update(read=True, key_share=True)
        .cte("listening")
    )


def _told(source: FromClause, *, started: bool) -> Select[Any]:
    """The rows of `webhook_deliveries` for jobs that moved."""
    events, so = _happened(source, started=started)
    listening = _listening(source)
    event = events.c.event
    id = source.c.id.concat(_word("_")).concat(event)
    own = (
        select(
            id.label("id"),
            source.c.owner,
            null().label("endpoint"),
            source.c.id.label("job"),
            source.c.webhook.label("url"),
            event,
        )
        .select_from(source.join(events, so))
        .where(source.c.webhook.is_not(None), _among(event, source.c.webhook_events))
    )
    registered = (
        select(
            id.concat(_word("_")).concat(listening.c.id).label("id"),
            source.c.owner,
            listening.c.id.label("endpoint"),
            source.c.id.label("job"),
            listening.c.url,
            event,
        )
        .select_from(source.join(listening, listening.c.owner == source.c.owner).join(events, so))
        .where(_among(event, listening.c.events))
    )
    now = bindparam("told_at", type_=webhook_deliveries.c.created_at.type)
    told = union_all(own, registered).subquery("told")
    rows = select(
        *told.c,
        _word("pending").label("state"),
        literal_column("0").label("attempts"),
        now.label("next_at"),
        now.label("created_at"),
    )
    return rows.where(true())  # SQLite takes an ON CONFLICT after a SELECT for a join without it


_moved = select(*TOLD_COLUMNS).where(jobs.c.id.in_(bindparam("ids", expanding=True))).cte("moved")
_INSERTS = {
    (dialect, started): insert_of(_moved, dialect, started=started)
    for dialect in ("postgresql", "sqlite")
    for started in (True, False)
}
