"""Fixtures of the ledger's tests: a fresh database of each dialect, and jobs to put into it."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from api.database import jobs
from api.database.accepting import Accepting
from api.database.database import Database
from common.job import Job, JobSpec

DIALECTS = ["sqlite", "postgres"]


async def fresh_postgres(url: str) -> str:
    """A new database on the server at `url`."""
    name = f"ledger_{secrets.token_hex(8)}"
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    await engine.dispose()
    return make_url(url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=DIALECTS)
async def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty ledger of each dialect."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/ledger.sqlite"
    servers: dict[str, str] = request.getfixturevalue("servers")
    return await fresh_postgres(servers["DARKROOM_DATABASE_URL"])


@pytest.fixture
async def database(ledger_url: str) -> AsyncIterator[Database]:
    opened = await Database.open(ledger_url)
    yield opened
    await opened.close()


@pytest.fixture
async def accepting(database: Database) -> AsyncIterator[Accepting]:
    opened = Accepting(database)
    yield opened
    await opened.close()


def new_job(*, model: str = "darkroom/echo", **fields: Any) -> Job:
    """A job as the API makes it, but for what is given."""
    defaults: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "owner": "local",
        "spec": JobSpec(model=model, inputs={"image": "inputs/local/2026-11-21/id.random.ab"}),
        "version": "main",
        "link_token": secrets.token_hex(16),
        "created_at": time.time(),
    }
    return Job(**{**defaults, **fields})


async def the_job(database: Database, job_id: str) -> Job:
    """The job as the ledger has it now."""
    async with database.read() as connection:
        job = await jobs.get(connection, job_id)
    assert job is not None
    return job


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    """Poll until it holds. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(0.02)
