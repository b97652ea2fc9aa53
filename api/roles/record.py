"""Events into the ledger, what the log lost back into it, and clocks: `python -m api record`."""

from __future__ import annotations

from api.database.database import Database
from api.exposing.looks import Disk, at_recorder, embedded
from api.exposing.recording import RecorderMetrics
from api.recorder import Recorder
from api.roles.loops import until_stopped
from api.sweeper import Sweeper
from api.upkeep.deadlines import Deadlines
from api.upkeep.retention import Retention
from common.catalogue import Catalogue
from common.exposing import exposed
from common.job_log import open_job_log
from common.object_store import open_object_store
from common.outage import until_available
from common.settings import Settings


async def record(catalogue: Catalogue, settings: Settings) -> bool:
    """Until SIGTERM or SIGINT. False: one of its loops ended by itself."""
    metrics = RecorderMetrics(model.name for model in catalogue)
    port = settings.recorder_metrics_port
    with exposed(metrics.registry, host=settings.metrics_host, port=port):
        return await _record(catalogue, settings, metrics)


async def _record(catalogue: Catalogue, settings: Settings, metrics: RecorderMetrics) -> bool:
    database = await until_available(Database.open, settings.ledger_url)
    log = await until_available(open_job_log, settings.log_url, partitions=settings.partitions)
    recorder = Recorder(log=log, database=database, metrics=metrics)
    deadlines = Deadlines(log=log, database=database)
    sweeper = Sweeper(
        log=log,
        database=database,
        models=[model.name for model in catalogue],
        every_seconds=settings.sweep_seconds,
        after_seconds=settings.sweep_after_seconds,
        metrics=metrics,
    )
    looks = at_recorder(log, database, [model.name for model in catalogue])
    metrics.registry.register(looks)
    if embedded(settings):
        metrics.registry.register(Disk(settings.data_dir))
    loops = [recorder.run(), sweeper.run(), deadlines.run(), _retain(database, settings)]
    try:
        return await until_stopped(*loops, looks.run())
    finally:
        await deadlines.close()
        await log.close()
        await database.close()


async def _retain(database: Database, settings: Settings) -> None:
    """Recording does not wait for the object store; this does."""
    store = await until_available(open_object_store, settings.store_url)
    kept = settings.result_seconds
    await Retention(store=store, database=database, result_seconds=kept).run()
