"""Tables come into being once, and migrations lead to the same ones."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from api.database.accepting import Accepting
from api.database.condition import condition_of
from api.database.database import Database
from api.database.tables import metadata
from api.database.upgrade import HEAD, MIGRATIONS
from common.errors import SettingsInvalid
from tests.ledger import new_job, the_job, until

pytestmark = pytest.mark.anyio


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    command.upgrade(_config(connection), "head")


def _downgrade(connection: Connection) -> None:
    command.downgrade(_config(connection), "base")


def _differences(connection: Connection) -> list[Any]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


def _schema(connection: Connection) -> dict[str, Any]:
    """All that the dialect tells about the tables, in an order of its own."""
    inspector = inspect(connection)
    return {
        table: {
            "columns": [
                (column["name"], str(column["type"]), column["nullable"])
                for column in inspector.get_columns(table)
            ],
            "primary": inspector.get_pk_constraint(table),
            "foreign": inspector.get_foreign_keys(table),
            "checks": inspector.get_check_constraints(table),
            "indexes": sorted(_index(index) for index in inspector.get_indexes(table)),
        }
        for table in inspector.get_table_names()
    }


def _index(index: Any) -> tuple[str, list[str], str]:
    options = index.get("dialect_options", {})
    where = options.get("sqlite_where", options.get("postgresql_where", ""))
    return index["name"], index["column_names"], str(where)


@pytest.fixture
async def engine(ledger_url: str) -> AsyncIterator[AsyncEngine]:
    made = create_async_engine(ledger_url)
    yield made
    await made.dispose()


def test_the_head_that_start_up_trusts_is_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(_config()).get_current_head() == HEAD


async def test_migrating_gives_the_same_tables_as_making_them(
    ledger_url: str, engine: AsyncEngine
) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade)
    async with engine.begin() as connection:
        assert await connection.run_sync(_differences) == []
        migrated = await connection.run_sync(_schema)
        await connection.run_sync(_downgrade)
        left = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        assert left == ["alembic_version"]
        await connection.execute(text("DROP TABLE alembic_version"))
    await (await Database.open(ledger_url)).close()
    async with engine.begin() as connection:
        assert await connection.run_sync(_schema) == migrated
        assert await connection.run_sync(_differences) == []


async def test_opening_again_keeps_the_rows_and_migrating_does_too(
    ledger_url: str, engine: AsyncEngine
) -> None:
    database = await Database.open(ledger_url)
    accepting = Accepting(database)
    job = new_job(labels=("kept",))
    await accepting.accept(job)
    await accepting.close()
    await database.close()
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade)
    database = await Database.open(ledger_url)
    assert await the_job(database, job.id) == job
    await database.close()


_OPEN = """
import asyncio, sys
from api.database.condition import condition_of
from api.database.database import Database

async def main():
    database = await Database.open(sys.argv[1])
    await database.check()
    await database.close()
    assert not any(name.startswith("alembic") for name in sys.modules)

asyncio.run(main())
"""


async def test_several_processes_open_an_empty_ledger_at_once(
    ledger_url: str, engine: AsyncEngine
) -> None:
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", _OPEN, ledger_url)
        for _ in range(4)
    ]
    assert [await process.wait() for process in processes] == [0] * 4
    async with engine.begin() as connection:
        versions = await connection.execute(text("SELECT version_num FROM alembic_version"))
        assert [row.version_num for row in versions] == [HEAD]


async def test_an_older_ledger_is_migrated_by_one_of_those_who_open_it(
    ledger_url: str, engine: AsyncEngine
) -> None:
    """Version 0 is what Alembic leaves after the way down: a version table without a row."""
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade)
        await connection.run_sync(_downgrade)
    opened = await asyncio.gather(*(Database.open(ledger_url) for _ in range(4)))
    for database in opened:
        await database.check()
        await database.close()
    async with engine.begin() as connection:
        assert await connection.run_sync(_differences) == []


async def test_a_ledger_of_a_newer_version_is_refused_and_left_as_it_is(
    ledger_url: str, engine: AsyncEngine
) -> None:
    await (await Database.open(ledger_url)).close()
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for _ in range(2):
        with pytest.raises(SettingsInvalid, match="9999"):
            await Database.open(ledger_url)
    async with engine.begin() as connection:
        assert await connection.run_sync(_differences) == []


@pytest.mark.parametrize(
    "url", ["", "mysql://x", "sqlite:///x", "sqlite+aiosqlite://", "postgresql://x/y", "a:b:c"]
)
async def test_an_url_that_makes_no_sense_is_named(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="DARKROOM_DATABASE_URL"):
        await Database.open(url)


@pytest.mark.parametrize("open_", [Database.open, condition_of])
async def test_what_is_wrong_with_a_url_does_not_tell_its_password(open_: Any) -> None:
    url = "postgresql+asyncpg://darkroom:canary/ledger"
    with pytest.raises(SettingsInvalid, match="HOST") as error:
        await open_(url)
    assert "canary" not in "".join(traceback.format_exception(error.value))


async def test_only_one_at_a_time_is_alone(ledger_url: str, database: Database) -> None:
    other = await Database.open(ledger_url)
    async with (
        database.alone("sweeper") as first,
        other.alone("sweeper") as second,
        other.alone("else") as third,
    ):
        assert (first, second, third) == (True, False, True)
    async with other.alone("sweeper") as after:
        assert after
    await other.close()


_HOLD = """
import asyncio, sys
from api.database.condition import condition_of
from api.database.database import Database

async def main():
    database = await Database.open(sys.argv[1])
    async with database.alone("sweeper") as mine:
        print(mine, flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_who_dies_alone_lets_go(ledger_url: str, database: Database) -> None:
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLD, ledger_url, stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    assert (await holder.stdout.readline()).strip() == b"True"
    async with database.alone("sweeper") as mine:
        assert not mine
    holder.kill()
    await holder.wait()

    async def free() -> bool:
        async with database.alone("sweeper") as mine:
            return mine

    await until(free)


async def test_a_relative_path_and_its_folders_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = await Database.open("sqlite+aiosqlite:///data/deep/ledger.sqlite")
    await database.check()
    await database.close()
    assert (tmp_path / "data/deep/ledger.sqlite").exists()
