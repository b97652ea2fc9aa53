"""Dead letters run once more, each once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from api.database import dead_letters
from api.database.dead_letters import LetterFilter
from api.database.paging import Cursor
from api.dependencies import Parts
from api.problems import Problem
from api.repeating import own_key
from api.retrying import retry
from common.errors import BadInput, UnknownModel
from common.job import Job

MOST_AT_ONCE = 100  # new jobs that one call makes
_PAGES = 5  # that it looks through, where letters on them are refused
_SIDE_BY_SIDE = 8


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a letter cannot be replayed. It still waits."""

    letter: str
    code: str
    detail: str


@dataclass(slots=True)
class Replays:
    """What came of a call."""

    made: dict[str, Job] = field(default_factory=dict)  # letter -> its new job
    refused: list[Refused] = field(default_factory=list)


async def replay(parts: Parts, letter: Job) -> Job:
    """The new job; the same one for everybody who replays this letter at the same time.

    The new job is claimed under a key of the letter's own before the letter is marked. So whoever
    dies in between leaves a letter that waits, and whose replay finds the job that was made.
    Raises as `retry` does.
    """
    accepted = await retry(parts, letter, key=own_key("dead-letter", letter.id))
    async with parts.database.write() as connection:
        await dead_letters.mark_replayed(connection, letter.id)
    return accepted.job


async def replay_some(parts: Parts, *, owner: str | None, filter: LetterFilter) -> Replays:
    """Replay the latest failures that match, at most MOST_AT_ONCE of them.

    Raises Unavailable, or the Problem of a server without room; what was done until then stays.
    """
    replays = Replays()
    cursor: Cursor | None = None
    for _ in range(_PAGES):
        async with parts.database.read() as connection:
            page = await dead_letters.page(
                connection,
                owner=owner,
                filter=filter,
                cursor=cursor,
                limit=MOST_AT_ONCE - len(replays.made),
            )
        await _replay_each(parts, page.items, replays)
        cursor = page.next
        if cursor is None or len(replays.made) == MOST_AT_ONCE:
            break
    return replays


async def _replay_each(parts: Parts, letters: list[Job], replays: Replays) -> None:
    room = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def one(letter: Job) -> Job | Refused:
        async with room:
            try:
                return await replay(parts, letter)
            except UnknownModel as error:
                return Refused(letter.id, "unknown_model", str(error))
            except BadInput as error:
                return Refused(letter.id, error.code, str(error))
            except Problem as problem:
                if problem.code != "removed":
                    raise
                return Refused(letter.id, problem.code, problem.detail)

    outcomes = await asyncio.gather(*(one(letter) for letter in letters), return_exceptions=True)
    for letter, outcome in zip(letters, outcomes, strict=True):
        if isinstance(outcome, Job):
            replays.made[letter.id] = outcome
        elif isinstance(outcome, Refused):
            replays.refused.append(outcome)
        else:
            raise outcome
