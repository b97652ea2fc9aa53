"""The contract of the object store: bytes under keys. Keys come from hashes and ids alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a listing."""

    key: str
    size: int  # bytes
    modified_at: float  # seconds since the epoch, UTC


class ObjectStore(ABC):
    """Bytes under keys such as `outputs/<job>/<token>/0.png`.

    A key is relative, of at most 512 characters from [A-Za-z0-9._/-], without empty, `.` or `..`
    parts, each part of at most 255 characters; anything else raises ValueError before the store is
    asked. No key is a folder of another.
    """

    @abstractmethod
    async def put(self, key: str, content: bytes, content_type: str) -> None:
        """Store `content`, durably and whole; replaces what was there. Raises StoreUnavailable."""

    @abstractmethod
    async def get(self, key: str) -> bytes:
        """The bytes. Raises ObjectMissing, StoreUnavailable."""

    @abstractmethod
    async def link(self, key: str, *, expires_in: int) -> str | None:
        """A URL that anyone may GET for `expires_in` seconds; None if this store has no such thing.

        The reply carries the content type that `put` was given. Does not look whether the object
        exists.
        """

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Remove it; no error if it is not there. Raises StoreUnavailable."""

    @abstractmethod
    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """All objects whose key starts with `prefix`, in key order. Raises StoreUnavailable."""
