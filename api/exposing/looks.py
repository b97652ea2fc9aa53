"""What has to be asked for before it can be shown: the ledger's backlog, and the recorder's."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path

import psutil
import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.database import backlog, dead_letters, deliveries
from api.database.database import Database
from api.database.dead_letters import LetterFilter
from api.recorder import GROUP
from common.errors import Unavailable
from common.job import Priority
from common.job_log import JobLog
from common.settings import Settings
from common.topic import EVENTS

EVERY_SECONDS = 10.0

Look = Callable[[], Awaitable[Sequence[Metric]]]

logger = structlog.get_logger(__name__)


class Looks(Collector):
    """Looks every EVERY_SECONDS, and shows what it found. Where nobody answered it shows nothing.

    `looks` has one for each dependency, by its name.
    """

    def __init__(self, looks: Mapping[str, Look]) -> None:
        self._looks = looks
        self._found: list[Metric] = []

    def collect(self) -> Iterable[Metric]:
        """At each scrape."""
        return self._found

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            up = GaugeMetricFamily(
                "darkroom_dependency_up",
                "Whether it answered this process when asked last",
                labels=["dependency"],
            )
            found: list[Metric] = [up]
            for name, look in self._looks.items():
                try:
                    found += await look()
                except Unavailable as error:
                    logger.warning("not_looked", dependency=name, reason=str(error))
                    up.add_metric([name], 0)
                except Exception:  # the loop's edge: what is watched goes on without it
                    logger.exception("look_failed", dependency=name)
                else:
                    up.add_metric([name], 1)
            self._found = found
            await asyncio.sleep(EVERY_SECONDS)


class Disk(Collector):
    """The room on the disk that holds the data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """At each scrape."""
        disk = psutil.disk_usage(str(self._folder))
        yield _gauge("darkroom_disk_free_bytes", "Free on the data folder's disk", disk.free)
        yield _gauge("darkroom_disk_size_bytes", "Size of the data folder's disk", disk.total)


def embedded(settings: Settings) -> bool:
    """Whether anything lives in the data folder."""
    return not (settings.job_log_url and settings.object_store_url and settings.database_url)


def at_recorder(log: JobLog, database: Database, models: Iterable[str]) -> Looks:
    """How far the recorder is behind, and what waits in the ledger."""

    async def behind() -> Sequence[Metric]:
        bounds = await log.bounds({EVENTS: GROUP})
        lag = sum(each.lag for each in bounds.values())
        return [_gauge("darkroom_recorder_lag_events", "Events not recorded yet", lag)]

    async def waiting() -> Sequence[Metric]:
        async with database.read() as connection:
            found = await backlog.count(connection)
            letters = await dead_letters.count(connection, owner=None, filter=LetterFilter())
        jobs = Counter({(model, priority.value): 0 for model in models for priority in Priority})
        for kind, count in found.items():
            jobs[kind.model, kind.priority.value] += count
        family = GaugeMetricFamily(
            "darkroom_ledger_jobs_waiting",
            "Accepted jobs that no attempt has begun",
            labels=["model", "priority"],
        )
        for labels, count in jobs.items():
            family.add_metric(labels, count)
        dead = "Jobs that failed for good, and with which nobody has dealt"
        return [family, _gauge("darkroom_ledger_dead_letters", dead, letters)]

    return Looks({"log": behind, "database": waiting})


def at_notifier(database: Database) -> Looks:
    """What is still to be delivered."""

    async def pending() -> Sequence[Metric]:
        async with database.read() as connection:
            count, next_at = await deliveries.pending(connection)
        late = 0.0 if next_at is None else max(time.time() - next_at, 0.0)
        return [
            _gauge("darkroom_notifier_deliveries_pending", "Deliveries still to be made", count),
            _gauge(
                "darkroom_notifier_late_seconds",
                "For how long the delivery that is due longest has waited to be taken",
                late,
            ),
        ]

    return Looks({"database": pending})


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)
