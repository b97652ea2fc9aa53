"""How many jobs wait, kept in memory, so that no request counts rows."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from api.database import backlog
from api.database.backlog import Waiting
from api.database.database import Database
from common.events import JobUpdate
from common.job import Job, JobState, Priority
from common.outage import until_available

EVERY_SECONDS = 1.0  # between two counts
_SHARE = 20  # a count that took so long is not repeated before so many times that

_log = structlog.get_logger()


class Backlog:
    """The last count of the ledger's rows, and what this process accepted since it began.

    So the numbers hold over all API processes but for what the others accepted within a second.
    What started or ended since the count is still in it; what was accepted since is not, once it
    started.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counted: Counter[object] = Counter()
        self._since: dict[str, Waiting] = {}  # job id -> what it is
        self._committed: set[str] = set()  # those of `_since` that a count will see
        self._lately: Counter[object] = Counter()
        self._task: asyncio.Task[None] | None = None
        self.known = False  # whether the last count worked

    async def start(self) -> None:
        """Count once, and go on counting. Waits for the ledger."""
        await until_available(self.count)
        self._task = asyncio.create_task(self._count_for_ever(), name="count the backlog")

    async def close(self) -> None:
        """Stop counting."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    @property
    def total(self) -> int:
        return self._number(None)

    def of_owner(self, owner: str) -> int:
        return self._number(("owner", owner))

    def of_model(self, model: str) -> int:
        return self._number(("model", model))

    def of(self, kind: Waiting) -> int:
        return self._number(kind)

    def models(self, owner: str | None = None) -> set[str]:
        """Models that have jobs waiting; of this owner."""
        both = {*self._counted, *self._lately}
        kinds = (kind for kind in both if isinstance(kind, Waiting) and self._number(kind) > 0)
        return {kind.model for kind in kinds if owner in (None, kind.owner)}

    def by_priority(self) -> dict[str, Counter[Priority]]:
        """Of each model that has some, everyone's jobs by the priority that was asked for."""
        numbers: defaultdict[str, Counter[Priority]] = defaultdict(Counter)
        for kind in {*self._counted, *self._lately}:
            if isinstance(kind, Waiting):
                numbers[kind.model][kind.priority] += self._number(kind)
        return numbers

    @contextmanager
    def adding(self, job: Job) -> Iterator[None]:
        """One more waits, or will at the end of this; not if that is an exception."""
        if job.id in self._since:  # one id, sent twice at once: one of them will be refused
            yield
            return
        kind = kind_of(job)
        self._since[job.id] = kind
        self._lately.update(_sums(kind))
        try:
            yield
        except BaseException:
            self._forget(job.id)
            raise
        self._committed.add(job.id)

    def take(self, update: JobUpdate) -> None:
        """A job changed: it may wait no longer."""
        if update.state is not JobState.STARTING:
            self._forget(update.job)

    async def count(self) -> None:
        """Count the ledger's rows. Raises LedgerUnavailable."""
        seen = list(self._committed)
        async with self._database.read() as connection:
            counted = await backlog.count(connection)
        self._counted = Counter()
        for kind, number in counted.items():
            self._counted.update(dict.fromkeys(_sums(kind), number))
        self.known = True
        for job in seen:
            self._forget(job)

    def _number(self, of: object) -> int:
        return self._counted[of] + self._lately[of]

    def _forget(self, job: str) -> None:
        self._committed.discard(job)
        kind = self._since.pop(job, None)
        if kind is not None:
            self._lately.subtract(_sums(kind))
            for each in _sums(kind):
                if not self._lately[each]:
                    del self._lately[each]

    async def _count_for_ever(self) -> None:
        pause = EVERY_SECONDS
        while True:
            await asyncio.sleep(pause)
            began = time.monotonic()
            try:
                await self.count()
            except Exception as error:  # noqa: BLE001  the loop's edge: the last count stays
                self.known = False
                _log.warning("backlog_not_counted", reason=str(error))
            pause = max(EVERY_SECONDS, _SHARE * (time.monotonic() - began))


def kind_of(job: Job) -> Waiting:
    """What the job is counted as."""
    return Waiting(job.owner, job.spec.model, job.spec.priority)


def _sums(kind: Waiting) -> tuple[object, ...]:
    """Every number that a job of the kind is part of."""
    return (None, ("owner", kind.owner), ("model", kind.model), kind)
