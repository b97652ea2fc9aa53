"""Idempotency keys that have had their day are swept."""

from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import select

from api.database import claims
from api.database.accepting import Accepting
from api.database.claims import KEPT_SECONDS, Claim
from api.database.database import Database
from api.database.tables import idempotency_keys
from api.sweeper import Sweeper
from common.job_log import JobLog
from tests.ledger import new_job, until

pytestmark = pytest.mark.anyio


async def test_a_running_sweeper_forgets_keys_of_yesterday(
    log: JobLog,
    database: Database,
    accepting: Accepting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one round, however many they are: they may come faster than one step a round."""
    monkeypatch.setattr(claims, "FORGOTTEN_AT_ONCE", 2)
    for number in range(5):
        old = new_job(created_at=time.time() - KEPT_SECONDS - 1)
        await accepting.accept(old, Claim("a", f"old {number}"))
    await accepting.accept(new_job(), Claim("a", "new"))

    async def kept() -> list[str]:
        async with database.read() as connection:
            return list(await connection.scalars(select(idempotency_keys.c.key)))

    async def old_is_gone() -> bool:
        return await kept() == ["new"]

    sweeper = Sweeper(
        log=log, database=database, models=[], every_seconds=3600.0, after_seconds=30.0
    )
    sweeping = asyncio.create_task(sweeper.run())
    await until(old_is_gone)
    sweeping.cancel()
    await asyncio.wait([sweeping])
