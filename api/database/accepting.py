"""Accepting jobs: many rows in one commit."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Mapping
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple

import structlog
from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.claims import Claim, Claiming, Earlier, take
from api.database.database import Database
from api.database.dialects import insert_rows
from api.database.errors import DataError, translated
from api.database.positions import PositionWriter
from api.database.rows import label_rows, row_of
from api.database.tables import job_labels, jobs
from common.errors import LedgerUnavailable
from common.job import Job, JobState
from common.job_log import Position

MOST_ROWS = 200  # of one commit
_NONE: Mapping[str, Earlier] = MappingProxyType({})

logger = structlog.get_logger(__name__)


class _Waiting(NamedTuple):
    """A row that wants to be committed, and who waits for it."""

    row: dict[str, Any]
    labels: list[dict[str, Any]]
    done: Future[Earlier | None]
    claim: Claim | None = None


class Accepting:
    """Takes jobs into the ledger. Make it inside the running loop; `close` it at the end.

    One task commits whatever arrived while its last commit was under way: a job that comes alone
    waits for nothing, and under load a commit is shared by many.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._positions = PositionWriter(database)
        self._queue: asyncio.Queue[_Waiting | None] = asyncio.Queue()
        self._doubtful: list[_Waiting] = []
        self._task = asyncio.create_task(self._run())

    async def accept(self, job: Job, claim: Claim | None = None) -> Earlier | None:
        """Returns when the job's row is committed: None, or what the claim's key made before it.

        Raises LedgerUnavailable, and then there is no row (`_settle` says how far). Anything else
        that is raised says that this row cannot be: its id is taken, or a text of it has no place
        in the database.
        """
        done: Future[Earlier | None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Waiting(row_of(job), label_rows(job), done, claim))
        return await done

    def keep_position(self, job_id: str, position: Position) -> None:
        """Note where the log holds the job; it is written within a second, or by `close`."""
        self._positions.add(job_id, position)

    async def close(self) -> None:
        """Write what is left, if the database answers. `accept` may not be called any more."""
        self._queue.put_nowait(None)
        await self._task
        await self._positions.close()

    async def _run(self) -> None:
        while True:
            batch, more = await self._next_batch()
            try:
                if batch:
                    await self._commit(batch)
            except Exception as error:  # noqa: BLE001  the loop's edge: all who wait learn it
                _tell(batch, error)
            if not more:
                return

    async def _next_batch(self) -> tuple[list[_Waiting], bool]:
        """What waits, and whether more may come after it."""
        batch: list[_Waiting] = []
        item = await self._queue.get()
        while item is not None:
            batch.append(item)
            if len(batch) == MOST_ROWS or self._queue.empty():
                return batch, True
            item = self._queue.get_nowait()
        return batch, False

    async def _commit(self, batch: list[_Waiting]) -> None:
        """Commit the rows together; those that cannot be fail without their neighbours."""
        await self._undo_doubtful()
        one = not any(waiting.labels or _claiming(waiting) for waiting in batch)
        written = one  # one statement commits itself: whenever it fails, it may have been written
        try:
            async with self._database.statement() if one else self._database.write() as connection:
                earlier = await _insert(connection, batch)
                written = True
        except LedgerUnavailable:
            if not written:
                raise
            earlier = await self._settle(batch)
        except DataError:
            earlier = await self._settle(batch)
        _tell(batch, None, earlier)

    async def _settle(self, batch: list[_Waiting]) -> dict[str, Earlier]:
        """Insert row by row, after a row was refused or the answer to COMMIT was lost.

        An insert waits for a lost transaction that the server still works on; an id that is taken
        after it may be our own row, which the link token shows. If the database does not answer
        now either, the callers hear LedgerUnavailable, and rows that did come into being are
        removed as soon as it answers again, unless the sweeper was faster or this process dies.
        A row with a claim stays: the caller's next try is to find it, and may have found it.
        """
        try:
            async with self._database.write() as connection:
                refused, earlier = await _insert_apart(connection, batch)
                others = [each for each in refused if not await _is_ours(connection, each[0])]
        except LedgerUnavailable:
            self._doubtful += [waiting for waiting in batch if waiting.claim is None]
            raise
        for waiting, error in others:  # only now can the row that has their id be read
            _tell([waiting], error)
        return earlier

    async def _undo_doubtful(self) -> None:
        if not self._doubtful:
            return
        async with self._database.write() as connection:
            await connection.execute(_undo, [_identity(waiting) for waiting in self._doubtful])
        logger.info("doubtful_rows_removed", rows=len(self._doubtful))
        self._doubtful.clear()


_undo = delete(jobs).where(
    jobs.c.id == bindparam("job"),
    jobs.c.link_token == bindparam("link_token"),
    jobs.c.state == JobState.STARTING.value,
    jobs.c.appended_at.is_(None),
)


def _identity(waiting: _Waiting) -> dict[str, Any]:
    """The link token is random, so nobody else's row has it."""
    return {"job": waiting.row["id"], "link_token": waiting.row["link_token"]}


async def _insert(connection: AsyncConnection, batch: list[_Waiting]) -> dict[str, Earlier]:
    """Insert the rows, but for those whose key made a job before: the reply has them by id."""
    rows = [waiting.row for waiting in batch]
    # In one order, as ids that clients chose may be wanted by two processes at once.
    await insert_rows(connection, jobs, sorted(rows, key=itemgetter("id")))
    labels = [label for waiting in batch for label in waiting.labels]
    if labels:
        await connection.execute(insert(job_labels), labels)
    claiming = [wanted for waiting in batch if (wanted := _claiming(waiting))]
    return await take(connection, claiming) if claiming else {}


def _claiming(waiting: _Waiting) -> Claiming | None:
    row, claim = waiting.row, waiting.claim
    if claim is None or claim.key is None:
        return None
    return Claiming(row["id"], row["owner"], row["created_at"], claim.key, claim.fingerprint)


async def _insert_apart(
    connection: AsyncConnection, batch: list[_Waiting]
) -> tuple[list[tuple[_Waiting, Exception]], dict[str, Earlier]]:
    """Insert row by row, and return those that cannot be, each with the reason or its key's job."""
    refused: list[tuple[_Waiting, Exception]] = []
    earlier: dict[str, Earlier] = {}
    for waiting in batch:
        try:
            with translated():
                async with connection.begin_nested():
                    earlier |= await _insert(connection, [waiting])
        except DataError as error:
            refused.append((waiting, error))
    return refused, earlier


async def _is_ours(connection: AsyncConnection, waiting: _Waiting) -> bool:
    query = select(jobs.c.link_token).where(jobs.c.id == waiting.row["id"])
    return bool(await connection.scalar(query) == waiting.row["link_token"])


def _tell(
    batch: list[_Waiting], error: Exception | None, earlier: Mapping[str, Earlier] = _NONE
) -> None:
    """Wake those who wait and have not been told yet; some may have gone."""
    for waiting in batch:
        if waiting.done.done():
            continue
        if error is None:
            waiting.done.set_result(earlier.get(waiting.row["id"]))
        else:
            waiting.done.set_exception(error)
