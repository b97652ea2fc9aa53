"""Tables brought up to date: made whole where there are none, migrated where they are old."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.tables import metadata
from common.errors import SettingsInvalid

HEAD = "0005"  # the newest of migrations/versions; they rise as texts do
MIGRATIONS = Path(__file__).parent / "migrations"


async def is_up_to_date(connection: AsyncConnection) -> bool:
    return await connection.run_sync(version_of) == HEAD


async def bring_up_to_date(connection: AsyncConnection) -> None:
    """Runs inside the caller's transaction, under a lock that keeps other processes out.

    Raises SettingsInvalid for tables of a newer version.
    """
    await connection.run_sync(_bring_up_to_date)


def _bring_up_to_date(connection: Connection) -> None:
    version = version_of(connection)
    if version is None:
        _make(connection)
    elif version > HEAD:
        raise SettingsInvalid(
            f"The ledger's tables are at revision {version}, and this version of Darkroom knows "
            f"{HEAD}: start the newer version, or restore a backup from before it"
        )
    elif version != HEAD:
        _migrate(connection, HEAD)


def version_of(connection: Connection) -> str | None:
    """None for a database that was never ours; empty after the migrations went all the way down."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.scalar(text("SELECT version_num FROM alembic_version")) or ""


def _make(connection: Connection) -> None:
    """Straight from the tables' definition: Alembic costs a start a second and 13 MB.

    A test holds the migrations to the same result.
    """
    metadata.create_all(connection)
    connection.execute(
        text(
            "CREATE TABLE alembic_version "
            "(version_num VARCHAR(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY)"
        )
    )
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def _migrate(connection: Connection, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
