"""Copies of dead letters for the log, so that whoever watches Kafka sees them without the ledger.

They are made after the commit, and come again if the recorder is cut off before it acknowledges:
the ledger is the truth, and a copy's key is its job's id.
"""

from __future__ import annotations

from collections.abc import Collection

from api.appending import Message
from api.database import dead_letters
from api.database.database import Database
from api.database.dead_letters import LetterCopy
from common.topic import dead_letter_topic


async def copies_of(database: Database, failed: Collection[str]) -> list[Message]:
    """A message for each of these jobs that is a dead letter. Raises LedgerUnavailable."""
    if not failed:
        return []
    async with database.read() as connection:
        found = await dead_letters.copies(connection, failed)
    return [
        Message(dead_letter_topic(copy.spec.model), copy.job, copy.spec, _headers(copy))
        for copy in found
    ]


def _headers(copy: LetterCopy) -> dict[str, str]:
    headers = {"cause": copy.cause, "attempts": str(copy.attempts), "original_topic": copy.topic}
    if copy.position is not None:
        headers["original_partition"] = str(copy.position.partition)
        headers["original_offset"] = str(copy.position.offset)
    return headers
