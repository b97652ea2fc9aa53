"""Who of a group holds what, in SQLite. Each function runs inside one transaction.

What a group has of a topic is two things: `next`, the first offset never handed out, and a row in
`held` for each offset below it that is not finished. So the low water is the lowest held offset,
and what is finished above it needs no row.

Times are seconds of the system's monotonic clock, which all processes of a host share.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Container, Iterable
from itertools import chain, islice
from sqlite3 import Connection
from typing import NamedTuple

from common.job_log.base import Bounds, Delivery, Position, Start, bounds_of
from common.job_log.sqlite.topics import PARTITION, extent, make_topics, take
from common.job_log.weights import WeightedChoice

SCHEMA = """
CREATE TABLE IF NOT EXISTS cursors (
    crew TEXT NOT NULL, topic TEXT NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (topic, crew)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (
    crew TEXT NOT NULL, topic TEXT NOT NULL, offset INTEGER NOT NULL, process TEXT NOT NULL,
    reader INTEGER NOT NULL, until REAL NOT NULL, PRIMARY KEY (topic, crew, offset)
) WITHOUT ROWID;
"""
_NOBODY = ""  # the process of an offset that was handed out, and is not held any more


class Reader(NamedTuple):
    """Who holds leases, and for which group (`crew` in the tables: SQL keeps GROUP for itself)."""

    group: str
    process: str
    number: int


def join(db: Connection, group: str, topics: Iterable[str], start: Start) -> None:
    """Give the group its place in each topic, where it has none yet."""
    make_topics(db, topics)
    for topic in topics:
        kept = extent(db, topic)
        db.execute(
            "INSERT INTO cursors VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (group, topic, kept.start if start is Start.EARLIEST else kept.stop),
        )


def bounds(db: Connection, topic: str, group: str | None) -> Bounds:
    """As the group sees the topic."""
    kept = extent(db, topic)
    committed = None if group is None else _low_water(db, topic, group)
    return bounds_of(kept.start, committed, kept.stop)


def lease(
    db: Connection,
    reader: Reader,
    choice: WeightedChoice,
    limit: int,
    held: Container[Position],
    seconds: float,
) -> list[Delivery]:
    """At most `limit` messages that were free, and are the reader's for `seconds` now.

    `held` is what the reader has in hand: it gets none of that again, even where it lost it.
    """
    # Read while the lock is held, so that no lease in the file can be from later.
    now = time.monotonic()
    offsets: dict[str, list[int]] = {}
    passed: dict[str, list[int]] = {}
    for topic in choice.topics:
        free = _free(db, reader, topic, now, now + seconds)
        given_up = (each for each in free if Position(topic, PARTITION, each) not in held)
        waiting = chain(given_up, _fresh(db, reader.group, topic))
        others = _others_keys(db, reader, topic, free)
        offsets[topic], passed[topic] = _in_turn(db, topic, waiting, others, limit)
    deliveries = take(db, offsets, choice, limit)
    for delivery in deliveries:
        _hold(db, reader, delivery.position, now + seconds)
        for offset in passed[delivery.position.topic]:
            if offset < delivery.position.offset:
                _pass_over(db, reader.group, delivery.position.topic, offset)
    return deliveries


def finish(db: Connection, reader: Reader, positions: Iterable[Position]) -> None:
    """These are never handed out again. What another reader holds now stays its own."""
    db.executemany(
        "DELETE FROM held WHERE crew = ? AND (process = ? AND reader = ? OR process = ?)"
        " AND topic = ? AND offset = ?",
        [(*reader, _NOBODY, position.topic, position.offset) for position in positions],
    )


def release(db: Connection, reader: Reader, positions: Iterable[Position]) -> None:
    """The reader does not hold these any more."""
    db.executemany(
        "UPDATE held SET process = ? WHERE crew = ? AND process = ? AND reader = ?"
        " AND topic = ? AND offset = ?",
        [(_NOBODY, *reader, position.topic, position.offset) for position in positions],
    )


def release_all(db: Connection, reader: Reader) -> None:
    """The reader does not hold anything any more."""
    db.execute(
        "UPDATE held SET process = ? WHERE crew = ? AND process = ? AND reader = ?",
        (_NOBODY, *reader),
    )


def bury(db: Connection, process: str) -> None:
    """The process is dead: none of its readers holds anything any more."""
    db.execute("UPDATE held SET process = ? WHERE process = ?", (_NOBODY, process))


def renew(db: Connection, readers: Iterable[Reader], seconds: float) -> None:
    """The leases of these readers last `seconds` from now."""
    until = time.monotonic() + seconds
    db.executemany(
        "UPDATE held SET until = ? WHERE crew = ? AND process = ? AND reader = ?",
        [(until, *reader) for reader in readers],
    )


def holds(db: Connection, reader: Reader, position: Position) -> bool:
    """Whether the reader has it, and its lease lasts."""
    held = db.execute(
        "SELECT 1 FROM held WHERE crew = ? AND process = ? AND reader = ?"
        " AND topic = ? AND offset = ? AND until > ?",
        (*reader, position.topic, position.offset, time.monotonic()),
    )
    return held.fetchone() is not None


def finished_by_all(db: Connection, topic: str) -> int:
    """The offset below which every group of the topic has finished; 0 without groups."""
    rows = db.execute("SELECT crew FROM cursors WHERE topic = ?", (topic,)).fetchall()
    return min((bounds(db, topic, group).committed for (group,) in rows), default=0)


def forget(db: Connection, topic: str) -> None:
    """Drop what is held of messages that are not kept any more."""
    db.execute("DELETE FROM held WHERE topic = ? AND offset < ?", (topic, extent(db, topic).start))


def _low_water(db: Connection, topic: str, group: str) -> int | None:
    [(lowest, following)] = db.execute(
        "SELECT (SELECT min(offset) FROM held WHERE topic = :topic AND crew = :crew),"
        " (SELECT next FROM cursors WHERE topic = :topic AND crew = :crew)",
        {"topic": topic, "crew": group},
    ).fetchall()
    found: int | None = following if lowest is None else lowest
    return found


def _free(db: Connection, reader: Reader, topic: str, now: float, latest: float) -> list[int]:
    """Offsets handed out once that nobody holds; the reader's own too, if it knows nothing of them.

    A lease that ends after `latest` was given before the machine's last start.
    """
    rows = db.execute(
        "SELECT offset FROM held WHERE topic = ? AND crew = ?"
        " AND (process = ? OR until <= ? OR until > ? OR process = ? AND reader = ?)"
        " ORDER BY offset",
        (topic, reader.group, _NOBODY, now, latest, reader.process, reader.number),
    )
    return [offset for (offset,) in rows]


def _others_keys(
    db: Connection, reader: Reader, topic: str, free: Collection[int]
) -> Collection[bytes]:
    """Keys of what other readers of the group hold."""
    rows = db.execute(
        "SELECT offset, key FROM held JOIN messages USING (topic, offset)"
        " WHERE topic = ? AND crew = ? AND NOT (process = ? AND reader = ?)",
        (topic, *reader),
    )
    return {key for offset, key in rows if offset not in free}


def _in_turn(
    db: Connection, topic: str, waiting: Iterable[int], others: Collection[bytes], limit: int
) -> tuple[list[int], list[int]]:
    """At most `limit` whose keys are not among the others', and those passed over on the way.

    So the messages of a key keep their order, whoever reads them.
    """
    if not others:
        return list(islice(waiting, limit)), []
    taken: list[int] = []
    passed: list[int] = []
    for offset in waiting:
        query = "SELECT key FROM messages WHERE topic = ? AND offset = ?"
        [(key,)] = db.execute(query, (topic, offset)).fetchall()
        (passed if key in others else taken).append(offset)
        if len(taken) == limit:
            break
    return taken, passed


def _pass_over(db: Connection, group: str, topic: str, offset: int) -> None:
    """It counts as handed out, and is nobody's."""
    db.execute(
        "INSERT INTO held VALUES (?, ?, ?, ?, 0, 0) ON CONFLICT DO NOTHING",
        (group, topic, offset, _NOBODY),
    )


def _fresh(db: Connection, group: str, topic: str) -> range:
    """Offsets that were never handed out to the group."""
    kept = extent(db, topic)
    row = db.execute(
        "SELECT next FROM cursors WHERE topic = ? AND crew = ?", (topic, group)
    ).fetchone()
    return range(max(kept.start, row[0]), kept.stop) if row else kept


def _hold(db: Connection, reader: Reader, position: Position, until: float) -> None:
    db.execute(
        "INSERT INTO held VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " process = excluded.process, reader = excluded.reader, until = excluded.until",
        (reader.group, position.topic, position.offset, reader.process, reader.number, until),
    )
    db.execute(
        "INSERT INTO cursors VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET next = max(next, excluded.next)",
        (reader.group, position.topic, position.offset + 1),
    )
