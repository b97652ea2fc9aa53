"""Keys that the settings give, in a ledger of either dialect."""

from __future__ import annotations

import asyncio
import secrets
import time

import pytest

from api.access.given_keys import add_given_keys, given_keys
from api.access.keys import Scope, id_of
from api.database import keys
from api.database.database import Database
from common.errors import SettingsInvalid
from common.settings import Settings
from tests.ledger import database, ledger_url

__all__ = ["database", "ledger_url"]

pytestmark = pytest.mark.anyio


def secret() -> str:
    return f"dk_{secrets.token_hex(6)}_{secrets.token_hex(32)}"


async def test_each_key_is_there_once_with_its_scope_however_many_processes_start(
    database: Database,
) -> None:
    admin, monitor = secret(), secret()
    given = given_keys(Settings(admin_key=admin, monitor_key=monitor))
    await asyncio.gather(*(add_given_keys(database, given) for _ in range(4)))
    async with database.read() as connection:
        found = {key.id: key for key in await keys.every(connection)}
    assert {id: key.scopes for id, key in found.items()} == {
        id_of(admin): {Scope.ADMIN},
        id_of(monitor): {Scope.MONITOR},
    }
    assert all(found[str(id_of(one))].is_of(one) for one in (admin, monitor))


async def test_a_key_that_was_revoked_does_not_come_back(database: Database) -> None:
    given = given_keys(Settings(admin_key=secret()))
    await add_given_keys(database, given)
    async with database.write() as connection:
        await keys.revoke(connection, given[0].id, at=time.time())
    await add_given_keys(database, given)
    async with database.read() as connection:
        found = await keys.every(connection)
    assert [key.revoked_at is not None for key in found] == [True]


def test_none_is_given_by_default() -> None:
    assert given_keys(Settings(admin_key="", monitor_key="")) == []


@pytest.mark.parametrize("setting", ["admin_key", "monitor_key"])
def test_what_is_no_key_is_refused_by_the_settings_name_and_not_shown(setting: str) -> None:
    with pytest.raises(SettingsInvalid, match=f"DARKROOM_{setting.upper()}") as refusal:
        given_keys(Settings.model_validate({setting: "hunter2"}))
    assert "hunter2" not in str(refusal.value)
