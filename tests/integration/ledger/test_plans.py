"""Postgres finds the rows of every request through an index, however many jobs have ended."""

from __future__ import annotations

import pytest

from api.database.database import Database
from benchmarks.table_growth import Asking, fill, plans
from tests.ledger import fresh_postgres

pytestmark = pytest.mark.anyio

ROWS = 30_000  # enough for the planner to shun a walk over the whole table


async def test_no_statement_of_a_request_walks_the_table(servers: dict[str, str]) -> None:
    database = await Database.open(await fresh_postgres(servers["DARKROOM_DATABASE_URL"]))
    await fill(database, 0, ROWS)
    asking = Asking(database)
    await asking.prepare()
    found = await plans(asking)
    await asking.accepting.close()
    await database.close()
    assert len(found) >= 10
    walks = {statement: plan for statement, plan in found.items() if "Seq Scan on jobs" in plan}
    assert not walks
