"""Who asks, and whether they may: decided before anything of a request's body is read."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import Request

from api.access.keyring import Keyring
from api.access.keys import ApiKey, Scope, id_of
from api.dependencies import KEY, owner_of, parts_of
from api.problems import Problem
from common.errors import LedgerUnavailable

ERRORS = (
    "missing_key",
    "invalid_key",
    "expired_key",
    "revoked_key",
    "scope_missing",
    "rate_limited",
)

_REALM = 'Bearer realm="darkroom"'
_SCHEMES = ("bearer", "token")  # Replicate's older clients say Token


class Needs(SecurityBase):
    """A dependency of routes: the request shows a key that has the scope, unless auth is off."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.model = HTTPBearer(description="`darkroom keys create` makes a key.")
        self.scheme_name = "key"

    async def __call__(self, request: Request) -> None:
        """Raises Problem 401, 403 or 429, and LedgerUnavailable."""
        parts = parts_of(request)
        keyring = parts.keyring
        if keyring is None:
            return
        key = await _recognised(keyring, _secret(request))
        if not key.may(self._scope):
            raise _scope_missing(key, self._scope)
        keyring.used(key)
        request.scope[KEY] = key
        await parts.admission.let_in(key.owner)


async def while_it_works(request: Request, frames: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """The frames of a stream, until the key that asked for it is revoked or expires."""
    keyring = parts_of(request).keyring
    async with aclosing(frames):
        async for frame in frames:
            if keyring is not None and not await _works(keyring, request.scope[KEY]):
                return
            yield frame


def admit_job(request: Request) -> None:
    """The first step of the routes that make jobs. Raises Problem `queue_full`."""
    parts_of(request).admission.check_backlog(owner_of(request))


def _secret(request: Request) -> str:
    header = request.headers.get("authorization", "").strip()
    if not header:
        raise _refused(
            "missing_key",
            "This needs an API key: send the header `Authorization: Bearer dk_...`. "
            "`darkroom keys create` makes a key.",
        )
    scheme, _, secret = header.partition(" ")
    if scheme.lower() not in _SCHEMES:
        raise _refused(
            "invalid_key", "The Authorization header holds no key: send `Bearer dk_...`."
        )
    return secret.strip()


async def _recognised(keyring: Keyring, secret: str) -> ApiKey:
    """The key of that secret. What is wrong with it is told only to who has the whole secret."""
    key_id = id_of(secret)
    if key_id is None:
        raise _refused(
            "invalid_key",
            "This is no key: it begins with dk_ and has 80 characters. Copy all of it.",
        )
    key = await keyring.find(key_id)
    if key is None or not key.is_of(secret):
        raise _refused(
            "invalid_key",
            "There is no such key: copy all of it, or make one with `darkroom keys create`.",
        )
    if key.revoked_at is not None:
        raise _refused(
            "revoked_key",
            f"The key {key.id} was revoked: make one with `darkroom keys create`.",
        )
    if key.expired(time.time()):
        raise _refused(
            "expired_key",
            f"The key {key.id} has expired: `darkroom keys rotate {key.id}` makes its successor.",
        )
    return key


async def _works(keyring: Keyring, key: ApiKey) -> bool:
    """While the ledger is gone, a key is what it was."""
    try:
        now = await keyring.find(key.id)
    except LedgerUnavailable:
        now = key
    return now is not None and now.revoked_at is None and not now.expired(time.time())


def _refused(code: str, detail: str) -> Problem:
    challenge = _REALM if code == "missing_key" else f'{_REALM}, error="invalid_token"'
    return Problem(code, detail, headers={"WWW-Authenticate": challenge})


def _scope_missing(key: ApiKey, scope: Scope) -> Problem:
    has = ", ".join(sorted(key.scopes)) or "none"
    return Problem(
        "scope_missing",
        f"This needs the scope {scope}, and the key {key.id} has {has}: use a key made with "
        f"`darkroom keys create --scope {scope}`.",
        headers={
            "WWW-Authenticate": f'{_REALM}, error="insufficient_scope", scope="{scope}"',
        },
    )
