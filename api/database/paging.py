"""Pages of rows in the order of a time and an id: no page costs more the further on it lies."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Select, literal_column, tuple_

_LONGEST_CURSOR = 500  # characters

T = TypeVar("T")


class Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A place between two jobs, and the direction in which the page lies from there."""

    created_at: float
    id: str
    newer: bool = False

    def encode(self) -> str:
        """As a word of letters, digits, - and _."""
        return base64.urlsafe_b64encode(_encoder.encode(self)).decode().rstrip("=")

    @classmethod
    def decode(cls, word: str) -> Cursor:
        """Raises ValueError for a word that `encode` did not make."""
        try:
            if len(word) > _LONGEST_CURSOR:
                raise ValueError("too long")
            padded = word.encode("ascii") + b"=" * (-len(word) % 4)
            cursor = _decoder.decode(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (ValueError, binascii.Error, msgspec.DecodeError) as error:
            raise ValueError("it is not a cursor of ours") from error
        if not cursor.id.isprintable() or not cursor.id.isascii():
            raise ValueError("it is not a cursor of ours")
        return cursor


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Cursor)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, newest first, and where the pages of older and of newer ones begin."""

    items: list[T]
    next: Cursor | None
    previous: Cursor | None


def beside(
    query: Select[Any],
    at: ColumnElement[float],
    id: ColumnElement[str],
    cursor: Cursor | None,
    limit: int,
) -> Select[Any]:
    """At most `limit` rows next to `cursor`, the nearest first; without one the newest.

    The limit stands in the statement: Postgres expects so much more of one that it does not see,
    that on a large table it would rather plan every page anew.
    """
    place = tuple_(at, id)
    rows: ColumnElement[int] = literal_column(str(limit))
    if cursor is not None:
        here = tuple_(cursor.created_at, cursor.id)
        query = query.where(place > here if cursor.newer else place < here)
    if cursor is not None and cursor.newer:
        return query.order_by(at.asc(), id.asc()).limit(rows)
    return query.order_by(at.desc(), id.desc()).limit(rows)


def page_of(
    found: Sequence[T],
    place: Callable[[T], tuple[float, str]],
    *,
    cursor: Cursor | None,
    limit: int,
) -> Page[T]:
    """Of what `beside` found with a limit one higher; `place` is an item's time and id."""
    newer, more = cursor is not None and cursor.newer, len(found) > limit
    items = list(found[:limit])
    if newer:
        items.reverse()
    if not items:
        return Page([], None, None)
    return Page(
        items,
        next=Cursor(*place(items[-1])) if more or newer else None,
        previous=Cursor(*place(items[0]), newer=True)
        if (more if newer else cursor is not None)
        else None,
    )


def older(cursor: Cursor | None) -> Cursor | None:
    """The same place, for lists that lead on to older items alone."""
    return None if cursor is None else Cursor(cursor.created_at, cursor.id)
