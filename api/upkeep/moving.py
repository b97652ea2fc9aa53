"""An embedded installation moved to the servers: what its log still tells, objects, ledger.

In that order, and the ledger by one transaction: what breaks off before its commit is done again,
and after it there is nothing left to do. The old installation stays as it is, but for what its log
had still to tell. Jobs that have not ended arrive without a place in the log, so the new side's
sweeper appends them; the new log itself is not touched.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from api.database.copying import NewLedger, OldLedger
from api.database.database import Database
from api.recorder import GROUP, Recorder
from api.upkeep.recorder_progress import RecorderProgress
from common.errors import InUse, LogUnavailable, StoreUnavailable
from common.job_log import open_job_log
from common.job_log.sqlite.holding import held
from common.object_key import INPUTS, OUTPUTS, content_of
from common.object_store import ObjectInfo, ObjectStore
from common.object_store.folder import FolderObjectStore
from common.topic import EVENTS

AT_ONCE = 8  # objects in memory
BATCH = 200
RECORD_SECONDS = 60.0  # and a second for each hundred events
_POLL_SECONDS = 0.05
_UNKNOWN_TYPE = "application/octet-stream"  # of inputs: no link leads to them


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Where an embedded installation keeps what it has."""

    folder: Path

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.sqlite"

    @property
    def log(self) -> Path:
        return self.folder / "log.sqlite"

    @property
    def ledger_url(self) -> str:
        return f"sqlite+aiosqlite:///{self.ledger}"

    def store(self) -> ObjectStore:
        """Not opened, which would make it: one that is not there is no empty one."""
        return FolderObjectStore(self.folder / "objects")


@dataclass(slots=True, kw_only=True)
class Plan:
    """What there is to move, and what stands in the way."""

    rows: dict[str, int]
    waiting: int  # jobs that have not ended
    events: int  # that the old log has still to tell
    objects: int
    bytes: int
    left: int  # objects that the new store does not have
    strays: int  # rows that Postgres would refuse
    occupied: list[str]  # tables of the new ledger that have rows
    moved: bool  # those rows are ours: all was moved before
    damaged: list[str] = field(default_factory=list)  # inputs that are not what their key says


class Move:
    """`new_ledger` is a URL. What is new may not be there yet, and is None then, to plan."""

    def __init__(
        self,
        *,
        old: Embedded,
        new_ledger: str | None,
        new_store: ObjectStore | None,
        told: Callable[[str], None],
    ) -> None:
        self._old, self._old_store = old, old.store()
        self._new_ledger, self._new_store = new_ledger, new_store
        self._told = told

    async def plan(self) -> Plan:
        """Nothing is changed. Raises InUse, Unavailable."""
        async with self._held() as (ledger, events):
            plan = Plan(
                rows=await ledger.counts(),
                waiting=await ledger.waiting(),
                events=events,
                objects=0,
                bytes=0,
                left=0,
                strays=await ledger.strays(),
                occupied=[],
                moved=False,
            )
            if self._new_ledger is not None:
                async with NewLedger.looking(self._new_ledger) as new:
                    plan.occupied = await new.occupied()
                    plan.moved = bool(plan.occupied) and await new.has_all_of(ledger)
            async for info, is_there in self._objects():
                plan.objects += 1
                plan.bytes += info.size
                plan.left += not is_there
        return plan

    async def record(self, events: int) -> None:
        """What the old log has still to tell goes into the old ledger. Raises Unavailable."""
        self._told(f"recording the last {events} events")
        database = await Database.open(self._old.ledger_url)
        log = await open_job_log(f"sqlite:///{self._old.log}")
        recording = asyncio.create_task(Recorder(log=log, database=database).run())
        progress, began = RecorderProgress(log), time.time()
        try:
            async with asyncio.timeout(RECORD_SECONDS + events / 100):
                while await progress.reached() < began:  # noqa: ASYNC110  another task decides
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError as error:
            raise LogUnavailable("the old log's events cannot be recorded") from error
        finally:
            recording.cancel()
            await asyncio.wait([recording])
            await log.close()
            await database.close()

    async def run(self, plan: Plan) -> None:
        """Objects, then the ledger. Raises InUse, Unavailable: then run it again."""
        assert self._new_ledger is not None
        async with self._held() as (ledger, events):
            if events:
                raise InUse("Darkroom ran there meanwhile: run this again")
            self._told(f"copying {plan.left} objects")
            await self._copy_objects(ledger, plan)
            async with NewLedger.filling(self._new_ledger) as new:
                if occupied := await new.occupied():
                    raise InUse(f"rows came into the new ledger meanwhile: {', '.join(occupied)}")
                await new.copy(ledger, lambda table, rows: self._told(f"copied {rows} {table}"))

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[tuple[OldLedger, int]]:
        """The old ledger, and how many events are not in it; nothing of it runs until the end."""
        async with (
            held(self._old.log, EVENTS, GROUP) as bounds,
            OldLedger.held(self._old.ledger) as ledger,
        ):
            yield ledger, bounds.lag

    async def _objects(self) -> AsyncIterator[tuple[ObjectInfo, bool]]:
        """Each old object, and whether the new store has it. Both list in the order of keys."""
        for prefix in (INPUTS, OUTPUTS):
            others = None if self._new_store is None else self._new_store.list(prefix)
            other = None if others is None else await anext(others, None)
            async for info in self._old_store.list(prefix):
                while others is not None and other is not None and other.key < info.key:
                    other = await anext(others, None)
                yield info, other is not None and (other.key, other.size) == (info.key, info.size)

    async def _copy_objects(self, ledger: OldLedger, plan: Plan) -> None:
        batch: list[ObjectInfo] = []
        async for info, is_there in self._objects():
            batch += [] if is_there else [info]
            if len(batch) == BATCH:
                await self._copy(batch, ledger, plan)
                batch = []
        await self._copy(batch, ledger, plan)

    async def _copy(self, batch: list[ObjectInfo], ledger: OldLedger, plan: Plan) -> None:
        types = await ledger.content_types([info.key for info in batch])
        room = asyncio.Semaphore(AT_ONCE)

        async def one(info: ObjectInfo) -> None:
            async with room:
                guessed = mimetypes.guess_type(info.key)[0]
                await self._copy_one(info, types.get(info.key) or guessed or _UNKNOWN_TYPE, plan)

        try:
            async with asyncio.TaskGroup() as group:
                for info in batch:
                    group.create_task(one(info))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    async def _copy_one(self, info: ObjectInfo, content_type: str, plan: Plan) -> None:
        assert self._new_store is not None
        content = await self._old_store.get(info.key)
        if info.key.startswith(INPUTS) and _digest(content) != content_of(info.key):
            plan.damaged.append(info.key)
        await self._new_store.put(info.key, content, content_type)
        if await self._new_store.get(info.key) != content:
            raise StoreUnavailable(f"the new store gives back other bytes of {info.key}")
        plan.left -= 1


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
