"""Topics and their messages in SQLite. Each function runs inside one transaction.

Every topic has the one partition 0. `first` is the offset of its oldest message and `next` that of
the message to come: it only rises, so that no offset is used twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from sqlite3 import Connection

import msgspec

from common.job_log.base import Delivery, Position, Start
from common.job_log.weights import WeightedChoice

SCHEMA = """
CREATE TABLE IF NOT EXISTS topics (
    name TEXT PRIMARY KEY, first INTEGER NOT NULL, next INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
    topic TEXT NOT NULL, offset INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
    headers BLOB NOT NULL, at REAL NOT NULL, PRIMARY KEY (topic, offset)
) WITHOUT ROWID;
"""
PARTITION = 0
_TRIM_AT_ONCE = 5000  # messages, so that a trim holds the lock for a moment only


class Message(msgspec.Struct, frozen=True):
    """A message as it is stored. Made before the transaction, which bad text must not spoil."""

    key: bytes
    value: bytes
    headers: bytes
    at: float  # seconds since the epoch

    @classmethod
    def of(cls, key: str, value: bytes, headers: Mapping[str, str], at: float) -> Message:
        return cls(key.encode(), value, msgspec.json.encode(headers), at)


def make_topics(db: Connection, topics: Iterable[str]) -> None:
    """Make those that are not there yet."""
    for topic in topics:
        db.execute("INSERT INTO topics VALUES (?, 0, 0) ON CONFLICT DO NOTHING", (topic,))


def topic_names(db: Connection) -> list[str]:
    """Every topic of the log."""
    return [name for (name,) in db.execute("SELECT name FROM topics")]


def extent(db: Connection, topic: str) -> range:
    """The offsets of the messages that are kept."""
    row = db.execute("SELECT first, next FROM topics WHERE name = ?", (topic,)).fetchone()
    return range(*row) if row else range(0)


def append(db: Connection, topic: str, message: Message) -> Position:
    """Add a message at the topic's end."""
    [(following,)] = db.execute(
        "INSERT INTO topics VALUES (?, 0, 1)"
        " ON CONFLICT DO UPDATE SET next = next + 1 RETURNING next",
        (topic,),
    ).fetchall()
    position = Position(topic, PARTITION, following - 1)
    db.execute(
        "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?)",
        (topic, position.offset, message.key, message.value, message.headers, message.at),
    )
    return position


def places(db: Connection, topics: Iterable[str], start: Start) -> dict[str, int]:
    """Where a reader without a group begins in each topic."""
    make_topics(db, topics)
    extents = {topic: extent(db, topic) for topic in topics}
    return {t: kept.start if start is Start.EARLIEST else kept.stop for t, kept in extents.items()}


def read(
    db: Connection, places: Mapping[str, int], choice: WeightedChoice, limit: int
) -> list[Delivery]:
    """Messages from `places` on, by weight."""
    offsets: dict[str, range] = {}
    for topic, place in places.items():
        kept = extent(db, topic)
        # A place past the end belongs to a log that was removed and made anew.
        offsets[topic] = range(
            max(place, kept.start) if place <= kept.stop else kept.start, kept.stop
        )
    return take(db, offsets, choice, limit)


def take(
    db: Connection, offsets: Mapping[str, range | list[int]], choice: WeightedChoice, limit: int
) -> list[Delivery]:
    """At most `limit` messages of those at `offsets`: by weight, in order inside a topic."""
    turns = choice.take({topic: len(waiting) for topic, waiting in offsets.items()}, limit)
    waiting: dict[str, Iterator[int]] = {topic: iter(offsets[topic]) for topic in turns}
    return [_delivery(db, topic, next(waiting[topic])) for topic in turns]


def trim(db: Connection, topic: str, oldest: float, finished: int) -> None:
    """Remove messages from before the time `oldest`, and those below the offset `finished`."""
    kept = extent(db, topic)
    reach = min(kept.start + _TRIM_AT_ONCE, kept.stop)
    [(old,)] = db.execute(
        "SELECT max(offset) FROM messages WHERE topic = ? AND offset < ? AND at < ?",
        (topic, reach, oldest),
    ).fetchall()
    first = max(kept.start, min(finished, reach), 0 if old is None else old + 1)
    if first > kept.start:
        db.execute("DELETE FROM messages WHERE topic = ? AND offset < ?", (topic, first))
        db.execute("UPDATE topics SET first = ? WHERE name = ?", (first, topic))


def _delivery(db: Connection, topic: str, offset: int) -> Delivery:
    [(key, value, headers)] = db.execute(
        "SELECT key, value, headers FROM messages WHERE topic = ? AND offset = ?", (topic, offset)
    ).fetchall()
    return Delivery(
        position=Position(topic, PARTITION, offset),
        key=key.decode(),
        value=value,
        headers=msgspec.json.decode(headers, type=dict[str, str]),
    )
