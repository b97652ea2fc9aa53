"""What a database says of a row that it refuses is logged, and must not show the row."""

from __future__ import annotations

import traceback

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from api.database.database import Database
from api.database.tables import webhook_secrets

pytestmark = pytest.mark.anyio

ROW = {"id": "a", "owner": None, "endpoint": None, "secret": "whsec_c4nary", "created_at": 1.0}


async def test_the_traceback_of_a_refused_row_names_its_fault_and_not_its_values(
    database: Database,
) -> None:
    with pytest.raises(IntegrityError) as refused:
        async with database.write() as connection:
            await connection.execute(insert(webhook_secrets), ROW)

    shown = "".join(traceback.format_exception(refused.value))
    assert "owner" in shown
    assert "c4nary" not in shown
