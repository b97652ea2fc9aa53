"""TLS and passwords of Postgres: what the URL says of them, and what a refusal means."""

from __future__ import annotations

import ssl

from sqlalchemy import URL, exc

from common.errors import LedgerUnavailable, SettingsInvalid
from common.server_url import certificate_error, tls_context

SETTING = "DARKROOM_DATABASE_URL"
_UNCHECKED = ("disable", "allow", "prefer", "require")  # libpq's words; asyncpg knows them too
_CHECKED = ("verify-ca", "verify-full")
_REFUSALS = {  # of SQLSTATE
    "28P01": "check the user and the password (also PGPASSWORD, where the URL has none)",
    "28000": "check the user, and what the server's pg_hba.conf asks for, such as ssl=verify-full",
    "3D000": "create the database, or name another",
}

Security = dict[str, ssl.SSLContext | str]  # what asyncpg takes beside the URL


def secured(url: URL) -> tuple[URL, Security]:
    """The URL without `ssl` and `sslrootcert`, and what they say. Raises SettingsInvalid.

    With sslrootcert (an authority in PEM) and no ssl, it is verify-full.
    """
    mode, authority = url.query.get("ssl"), url.query.get("sslrootcert")
    url = url.difference_update_query(["ssl", "sslrootcert"])
    if mode is None and authority is None:
        return url, {}
    if mode in _UNCHECKED and authority is None:
        return url, {"ssl": mode}
    if mode not in (None, *_CHECKED) or isinstance(authority, tuple):
        raise SettingsInvalid(
            f"{SETTING}: ssl={mode} is one of {', '.join((*_UNCHECKED, *_CHECKED))}, the last two "
            "with sslrootcert=FILE where the authority is none of the system's"
        )
    context = tls_context(SETTING, authority, check_hostname=mode != "verify-ca")
    return url, {"ssl": context}


def raise_refusal(url: URL, error: LedgerUnavailable) -> None:
    """Raises SettingsInvalid if the server answered, and it, or we, will not have the other."""
    where = f"{SETTING}: Postgres at {url.host}:{url.port or 5432}"
    wrong = certificate_error(error)
    if wrong is not None:
        raise SettingsInvalid(
            f"{where}: its certificate is not trusted ({wrong.verify_message}): name its "
            "authority's file by sslrootcert="
        ) from error
    cause = error.__cause__
    origin = cause.orig if isinstance(cause, exc.DBAPIError) else cause
    state = getattr(origin, "sqlstate", None)
    if state in _REFUSALS:
        raise SettingsInvalid(
            f"{where} refuses {url.username!r} ({origin}): {_REFUSALS[state]}"
        ) from error
