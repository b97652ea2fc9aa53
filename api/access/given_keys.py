"""Keys that the settings give, so that a new installation needs no hand: an administrator's first,
and the one by which its metrics are read."""

from __future__ import annotations

import time
from collections.abc import Sequence

from api.access.keys import ApiKey, Scope, key_from
from api.database import keys
from api.database.database import Database
from common.errors import SettingsInvalid
from common.settings import Settings


def given_keys(settings: Settings) -> list[ApiKey]:
    """Raises SettingsInvalid, which does not show what was given."""
    given = (
        ("DARKROOM_ADMIN_KEY", settings.admin_key, Scope.ADMIN),
        ("DARKROOM_MONITOR_KEY", settings.monitor_key, Scope.MONITOR),
    )
    now = time.time()
    return [_key(setting, secret, scope, now) for setting, secret, scope in given if secret]


def _key(setting: str, secret: str, scope: Scope, now: float) -> ApiKey:
    try:
        return key_from(secret, scope=scope, name=f"from {setting}", now=now)
    except ValueError as error:
        raise SettingsInvalid(f"{setting}: {error}; `make secrets` writes one") from error


async def add_given_keys(database: Database, given: Sequence[ApiKey]) -> None:
    """Those that the ledger never knew: one that was revoked stays so. Raises LedgerUnavailable."""
    if given:
        async with database.write() as connection:
            for key in given:
                await keys.add_unless_known(connection, key)
