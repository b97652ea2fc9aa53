"""The ledger as it lies in its database, read without a line of the product's own."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

Row = dict[str, Any]
TERMINAL = ("succeeded", "failed", "canceled")

_JOBS = (
    "SELECT id, state, token, created_at, started_at, completed_at, output, error, error_code, "
    "inputs, metadata, link_token, webhook, removed_at FROM jobs"
)
_DELIVERIES = "SELECT id, job, event, state, attempts FROM webhook_deliveries"
_ATTEMPTS = "SELECT delivery, count(*) AS made FROM webhook_attempts GROUP BY delivery"
_KEYS = "SELECT key, job FROM idempotency_keys"
_UNENDED = "SELECT count(*) AS left_over FROM jobs WHERE completed_at IS NULL"
_UNTOLD = "SELECT count(*) AS left_over FROM webhook_deliveries WHERE state = 'pending'"


@dataclass(frozen=True)
class Books:
    """What the checker reads. Rows are as the database has them; JSON is text there."""

    jobs: dict[str, Row]  # by id
    deliveries: dict[str, Row]  # by id
    attempts: dict[str, int]  # delivery -> how many were written down
    keys: dict[str, str]  # idempotency key -> job

    @property
    def ends(self) -> list[float]:
        """When jobs ended, in order; seconds since the epoch."""
        ends = (job["completed_at"] for job in self.jobs.values())
        return sorted(end for end in ends if end is not None)


async def read_books(url: str) -> Books:
    """Of the ledger at DARKROOM_DATABASE_URL."""
    jobs, deliveries, attempts, keys = await _select(url, _JOBS, _DELIVERIES, _ATTEMPTS, _KEYS)
    return Books(
        jobs={row["id"]: row for row in jobs},
        deliveries={row["id"]: row for row in deliveries},
        attempts={row["delivery"]: row["made"] for row in attempts},
        keys={row["key"]: row["job"] for row in keys},
    )


async def left_over(url: str) -> tuple[int, int]:
    """Jobs that have not ended, and webhooks that still have to be sent."""
    jobs, deliveries = await _select(url, _UNENDED, _UNTOLD)
    return jobs[0]["left_over"], deliveries[0]["left_over"]


def output_of(job: Row) -> Row:
    """The members `text` and `files` of what it made; neither if it made nothing."""
    made: Row = json.loads(job["output"] or "{}")
    return made


def iso_time(seconds: float) -> str:
    """As the API writes a time."""
    moment = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


async def _select(url: str, *queries: str) -> list[list[Row]]:
    """All of them see one moment of the database."""
    if url.startswith("sqlite"):
        path = url.partition(":///")[2]
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")
            return [[dict(row) for row in connection.execute(query)] for query in queries]
    connection_ = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        async with connection_.transaction(isolation="repeatable_read", readonly=True):
            return [[dict(row) for row in await connection_.fetch(query)] for query in queries]
    finally:
        await connection_.close()
