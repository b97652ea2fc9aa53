"""Who watches jobs, requests and streams alike: one reader of `updates`, one read a change."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import structlog

from api.database import jobs
from api.database.database import Database
from api.live.job_events import Stand, happened, stand_of
from common import topic, wire
from common.errors import LedgerUnavailable
from common.events import JobUpdate
from common.following import Follower
from common.job import Job
from common.job_log import Delivery, JobLog, Start

MOST_PENDING = 1000  # changes that wait for one watcher
MOST_RECENT = 10_000  # updates that are remembered, for those who come back
_MOST_READ = 200  # rows of one query
_RETRY_SECONDS = 1.0

K = TypeVar("K", str, str | None)

_log = structlog.get_logger()


class Told(NamedTuple):
    """One message of `updates`, as far as it is remembered. Its id orders and names it."""

    id: str  # MILLISECONDS-OFFSET
    owner: str
    job: str


@dataclass(slots=True, eq=False)
class Change:
    """A job as it stands now. All who watch it share one."""

    job: Job
    id: str  # of the last update that it comes from; empty if it was only read again
    names: tuple[str, ...] = ()  # of what happened since this process read the job before
    bodies: dict[str, bytes] = field(default_factory=dict)  # as shown, by the links' beginning


class Watch:
    """What one watcher has not looked at yet: of each job only the last change."""

    def __init__(self, *, ends_only: bool) -> None:
        self.ends_only = ends_only
        self.missed = False  # something: look into the ledger
        self._pending: dict[str, Change] = {}
        self._arrived = asyncio.Event()

    def put(self, change: Change) -> None:
        """Hand over a change. Beyond MOST_PENDING nothing is kept: the watcher is too slow."""
        self._pending.pop(change.job.id, None)  # what changed last is last
        if len(self._pending) < MOST_PENDING:
            self._pending[change.job.id] = change
        else:
            self._pending.clear()
            self.missed = True
        self._arrived.set()

    def wake(self, *, missed: bool = False) -> None:
        """End the current `next`."""
        self.missed |= missed
        self._arrived.set()

    async def next(self, seconds: float) -> list[Change]:
        """What came; nothing after so many seconds, or when it is woken."""
        try:
            await asyncio.wait_for(self._arrived.wait(), seconds)
        except TimeoutError:
            return []
        self._arrived.clear()
        changes = list(self._pending.values())
        self._pending.clear()
        return changes


class Watching:
    """Tells every watcher what changed, reading a row once however many watch it."""

    def __init__(
        self, log: JobLog, database: Database, *, told: Callable[[JobUpdate], None]
    ) -> None:
        self._database = database
        self._told = told  # hears every update, too
        self._of_job: defaultdict[str, set[Watch]] = defaultdict(set)
        self._of_owner: defaultdict[str | None, set[Watch]] = defaultdict(set)
        self._recent: deque[Told] = deque(maxlen=MOST_RECENT)
        self._stands: OrderedDict[str, Stand] = OrderedDict()
        self._unread: dict[str, str] = {}  # job id -> id of its last update
        self._work = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._follower = Follower(
            log, topic.UPDATES, start=Start.LATEST, take=self._take, resumed=self._resume
        )
        self.leaving = False

    def start(self) -> None:
        """Begin to follow the topic."""
        self._follower.start()
        self._reading = asyncio.create_task(self._read_on())

    async def close(self) -> None:
        """Stop following it."""
        await self._follower.close()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    def leave(self) -> None:
        """End every wait and stream now, and each later one at once: the process stops."""
        self.leaving = True
        for watch in self._watches():
            watch.wake()

    @contextmanager
    def job(self, job_id: str, *, ends_only: bool = False) -> Iterator[Watch]:
        """Watch one job. For its end, enter before it is committed."""
        with _member(self._of_job, job_id, Watch(ends_only=ends_only)) as watch:
            yield watch

    @contextmanager
    def owner(self, owner: str | None) -> Iterator[Watch]:
        """Watch all jobs of an owner; without one, everyone's."""
        with _member(self._of_owner, owner, Watch(ends_only=False)) as watch:
            yield watch

    def read_again(self, job_id: str) -> None:
        """Have the job's row read, whether or not an update comes."""
        self._unread.setdefault(job_id, "")
        self._work.set()

    def since(self, id: str) -> list[Told] | None:
        """What was told after the update `id`; None if that is not remembered here."""
        found = next((n for n, told in enumerate(self._recent) if told.id == id), None)
        return None if found is None else list(self._recent)[found + 1 :]

    def _watches(self) -> list[Watch]:
        kinds = (*self._of_job.values(), *self._of_owner.values())
        return [watch for watches in kinds for watch in watches]

    def _take(self, delivery: Delivery) -> None:
        update = wire.decode_update(delivery.value, delivery.headers)
        self._told(update)
        id = f"{int(1000 * (update.at or time.time()))}-{delivery.position.offset}"
        self._recent.append(Told(id, update.owner, update.job))
        watched = not self._of_owner.keys().isdisjoint((update.owner, None))
        if watched or any(
            update.state.terminal or not watch.ends_only
            for watch in self._of_job.get(update.job, ())
        ):
            self._unread[update.job] = id
            self._work.set()

    def _resume(self) -> None:
        """Something may have been missed."""
        for job_id in self._of_job:
            self.read_again(job_id)
        for watches in self._of_owner.values():
            for watch in watches:
                watch.wake(missed=True)

    async def _read_on(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                while self._unread:
                    await self._read()
            except LedgerUnavailable as error:
                _log.warning("changes_wait", jobs=len(self._unread), reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
                self._work.set()
            except Exception:  # noqa: BLE001  the loop's edge: keep-alives read again
                _log.exception("changes_not_told")
                await asyncio.sleep(_RETRY_SECONDS)

    async def _read(self) -> None:
        """An update that comes meanwhile is read next time: this read may be too early for it."""
        asked = dict(list(self._unread.items())[:_MOST_READ])
        async with self._database.read() as connection:
            for job_id in asked:
                del self._unread[job_id]
            try:
                found = await jobs.get_each(connection, asked)
            except BaseException:
                self._unread = asked | self._unread
                raise
        for job in found.values():
            before = self._stands.pop(job.id, None)
            change = Change(job, asked[job.id], happened(before, job))
            self._stands[job.id] = stand_of(job)
            if len(self._stands) > MOST_RECENT:
                self._stands.popitem(last=False)
            for watch in (
                *self._of_job.get(job.id, ()),
                *self._of_owner.get(job.owner, ()),
                *self._of_owner.get(None, ()),
            ):
                watch.put(change)


@contextmanager
def _member(kept: dict[K, set[Watch]], key: K, watch: Watch) -> Iterator[Watch]:
    kept[key].add(watch)
    try:
        yield watch
    finally:
        kept[key].discard(watch)
        if not kept[key]:
            del kept[key]
