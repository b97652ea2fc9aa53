"""API keys: how one is made, how it is recognised, and what it may do. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

LOCAL = "local"  # owns everything that is made while no keys are asked for
KEY_SECONDS = 3.0  # that a key may still work after it was revoked

_KEY = re.compile(r"dk_([0-9a-f]{12})_[0-9a-f]{64}")
# An owner's name is a part of object keys.
_OWNER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


class Scope(StrEnum):
    """What a key is for."""

    USER = "user"  # to run models, and to see what one ran
    WORKER = "worker"  # for consumers that speak HTTP
    MONITOR = "monitor"  # to read metrics
    ADMIN = "admin"  # everything, and everyone's jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What the ledger keeps of a key. Times are seconds since the epoch."""

    id: str  # the public part of the key
    owner: str  # whose jobs it sees
    name: str
    digest: str  # SHA-256 of the whole key, as hex
    scopes: frozenset[Scope]
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def is_of(self, secret: str) -> bool:
        """Whether `secret` is this key; it takes as long for every secret."""
        return hmac.compare_digest(self.digest, _digest(secret))

    def expired(self, now: float) -> bool:
        return self.expires_at is not None and self.expires_at <= now


def make_key(
    *,
    scopes: frozenset[Scope],
    now: float,
    owner: str | None = None,
    name: str = "",
    expires_at: float | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its secret, which nothing can show again. Without `owner` it is its own."""
    id = secrets.token_hex(6)
    secret = f"dk_{id}_{secrets.token_hex(32)}"
    key = ApiKey(
        id=id,
        owner=owner or id,
        name=name,
        digest=_digest(secret),
        scopes=scopes,
        created_at=now,
        expires_at=expires_at,
    )
    return key, secret


def key_from(secret: str, *, scope: Scope, name: str, now: float) -> ApiKey:
    """The key of a secret that was made elsewhere. Raises ValueError if it is none of ours."""
    id = id_of(secret)
    if id is None:
        raise ValueError("not dk_ID_SECRET with 12 and 64 hex digits")
    scopes = frozenset({scope})
    digest = _digest(secret)
    return ApiKey(id=id, owner=id, name=name, digest=digest, scopes=scopes, created_at=now)


def id_of(secret: str) -> str | None:
    """The public part of what looks like a key of ours; None for anything else."""
    found = _KEY.fullmatch(secret)
    return None if found is None else found[1]


def is_owner(name: str) -> bool:
    """Whether an owner may be called that."""
    return _OWNER.fullmatch(name) is not None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
