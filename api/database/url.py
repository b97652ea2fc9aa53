"""The ledger's URL as the settings give it."""

from __future__ import annotations

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from common.errors import SettingsInvalid


def parsed(url: str) -> URL:
    """Raises SettingsInvalid without the parser's words, which may quote a password."""
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsInvalid(
            "DARKROOM_DATABASE_URL: it cannot be read as sqlite+aiosqlite:///PATH or as "
            "postgresql+asyncpg://USER:PASSWORD@HOST:PORT/NAME; of a password write / ? # @ as %2F "
            "and so on"
        ) from None
