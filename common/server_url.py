"""Passwords, and authorities of certificates, in the URLs that name our servers."""

from __future__ import annotations

import re
import ssl

from common.errors import SettingsInvalid

_CREDENTIALS = re.compile(r"(?<=://).*@", re.DOTALL)


def shown(url: str) -> str:
    """The URL for a message: without its user and password."""
    return _CREDENTIALS.sub("***@", url)


def tls_context(
    setting: str, ca_file: str | None, *, check_hostname: bool = True
) -> ssl.SSLContext:
    """Trusts the system's authorities, or those in `ca_file` (PEM) alone. Raises SettingsInvalid.

    `setting` is the variable whose URL names the file.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:  # the file is missing, or no certificate is in it
        raise SettingsInvalid(
            f"{setting}: {ca_file} cannot be read as certificates in PEM ({error})"
        ) from error
    context.check_hostname = check_hostname
    return context


def certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """What was wrong with a server's certificate, where that is what `error` comes from."""
    while error is not None:
        for found in (error, *error.args):
            if isinstance(found, ssl.SSLCertVerificationError):
                return found
        error = error.__cause__ or error.__context__
    return None
