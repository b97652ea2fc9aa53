"""Ledger, objects and log compared with one another, and mended where they disagree.

What is in doubt is left alone: a dependency that does not answer ends the repair, and a recorder
that lags behind makes what the log lost unknown, not nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field

from api.appending import Message, append_all
from api.database import ending, removing, repairing
from api.database.database import Database
from api.database.ending import End
from api.database.repairing import BATCH, SAMPLES, Referrer
from api.dead_letter_copies import copies_of
from api.sweeper import NAME as SWEEPER
from api.sweeper import RecorderBehind, Sweeper
from api.upkeep.removal import Remover
from api.upkeep.retention import ORPHAN_SECONDS
from common.errors import ObjectMissing
from common.job import JobState
from common.job_log import JobLog
from common.object_key import INPUTS, OUTPUTS
from common.object_store import ObjectInfo, ObjectStore
from common.topic import UPDATES

AT_ONCE = 16  # questions to the object store
_SWEEPER_SECONDS = 60.0  # how long a repair waits for a sweeper that is at work


@dataclass(slots=True)
class Damage:
    """What was found of one kind."""

    kind: str
    mending: str  # what `apply` does, or did, about it
    count: int = 0
    samples: list[str] = field(default_factory=list)
    unknown: str = ""  # why nothing can be said

    def add(self, names: Collection[str]) -> None:
        self.count += len(names)
        self.samples += list(names)[: SAMPLES - len(self.samples)]


class Repair:
    """One comparison. With `apply` it mends what it finds, and a second one finds nothing."""

    def __init__(
        self,
        *,
        log: JobLog,
        store: ObjectStore,
        database: Database,
        sweeper: Sweeper,
        apply: bool,
        orphan_seconds: float = ORPHAN_SECONDS,
    ) -> None:
        self._log, self._store, self._database = log, store, database
        self._remover = Remover(store=store, database=database)
        self._orphan_seconds = orphan_seconds
        self._sweeper, self._apply = sweeper, apply

    async def run(self) -> list[Damage]:
        """Every kind of damage, also those of which there is none. Raises Unavailable."""
        # Rows first: what ends here needs no message, and what has none is then truly lost.
        return [
            await self._strays(),
            await self._inputs_missing(),
            await self._outputs_missing(),
            await self._orphans(),
            await self._not_in_log(),
        ]

    async def _strays(self) -> Damage:
        damage = Damage("rows without a job", "deleted")
        async with self._database.read() as connection:
            for stray in await repairing.strays(connection):
                damage.count += stray.count
                damage.samples += [f"{stray.table}: {job}" for job in stray.samples]
        if self._apply and damage.count:
            async with self._database.write() as connection:
                await repairing.delete_strays(connection)
        damage.samples = damage.samples[:SAMPLES]
        return damage

    async def _inputs_missing(self) -> Damage:
        damage = Damage("waiting jobs whose input is gone", "ended as failed, input_missing")
        async for batch in repairing.unended_inputs(self._database):
            lost = await self._lacking(batch, self._is_there)
            damage.add(lost)
            if self._apply and lost:
                await self._end(lost)
        return damage

    async def _outputs_missing(self) -> Damage:
        damage = Damage("results whose files are gone", "marked as removed: the link answers 410")
        async for batch in repairing.kept_outputs(self._database):
            lost = await self._lacking(batch, self._is_listed)
            damage.add(lost)
            if self._apply and lost:
                await self._remover.remove(lost)
        return damage

    async def _orphans(self) -> Damage:
        damage = Damage("objects of nobody, older than a day", "deleted")
        for prefix in (INPUTS, OUTPUTS):
            keys: list[str] = []
            async for found in self._store.list(prefix):
                keys += [found.key] if self._is_old(found) else []
                if len(keys) == BATCH:
                    damage.add(await self._orphans_of(keys))
                    keys = []
            damage.add(await self._orphans_of(keys))
        return damage

    async def _orphans_of(self, keys: list[str]) -> list[str]:
        """Those of the keys to which no row refers; deleted if they are to be."""
        async with self._database.read() as connection:
            wanted = await removing.wanted(connection, keys)
        left = [key for key in keys if key not in wanted]
        if self._apply and left:
            await self._remover.delete_unwanted(left)
        return left

    def _is_old(self, found: ObjectInfo) -> bool:
        return found.modified_at < time.time() - self._orphan_seconds

    async def _not_in_log(self) -> Damage:
        damage = Damage("waiting jobs that the log has lost", "appended again")
        deadline = time.monotonic() + _SWEEPER_SECONDS
        while time.monotonic() < deadline:
            async with self._database.alone(SWEEPER) as mine:
                if mine:
                    try:
                        async for gone in self._sweeper.gone():
                            damage.add(gone)
                            if self._apply:
                                await self._sweeper.append(gone)
                    except RecorderBehind:
                        damage.unknown = (
                            "events wait for the recorder: start `python -m api record`"
                        )
                    return damage
            await asyncio.sleep(0.1)
        damage.unknown = "a sweeper is at work all the time: it mends this by itself"
        return damage

    async def _end(self, jobs: Collection[str]) -> None:
        end = End(
            state=JobState.FAILED,
            at=time.time(),
            error_code="input_missing",
            error="The input is not in the object store any more.",
        )
        async with self._database.write() as connection:
            updates = await ending.end_each(connection, dict.fromkeys(jobs, end))
        told = [Message(UPDATES, update.job, update) for update in updates.values()]
        await append_all(self._log, told + await copies_of(self._database, updates))

    async def _lacking(
        self, jobs: Collection[Referrer], is_there: Callable[[str], Awaitable[bool]]
    ) -> list[str]:
        """Those of the jobs that need an object which is not there."""
        room = asyncio.Semaphore(AT_ONCE)

        async def whole(job: Referrer) -> bool:
            async with room:
                return all([await is_there(key) for key in job.keys])

        found = await asyncio.gather(*(whole(job) for job in jobs))
        return [job.id for job, is_whole in zip(jobs, found, strict=True) if not is_whole]

    async def _is_there(self, key: str) -> bool:
        """By its bytes: a list of an input's folder would be a list of the whole day."""
        try:
            await self._store.get(key)
        except ObjectMissing:
            return False
        return True

    async def _is_listed(self, key: str) -> bool:
        """Without its bytes: the folder is the attempt's own, and short."""
        listed: AsyncIterator[str] = (info.key async for info in self._store.list(key))
        return any([found == key async for found in listed])
