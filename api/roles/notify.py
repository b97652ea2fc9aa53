"""Webhooks: `python -m api notify`. A process of its own, so that the recorder never waits."""

from __future__ import annotations

from api.database.database import Database
from api.exposing.looks import at_notifier
from api.exposing.notifying import NotifierMetrics
from api.notifier import MOST_SENDING, Notifier
from api.roles.loops import until_stopped
from api.webhooks.asking import webhook_guard
from common.catalogue import Catalogue
from common.exposing import exposed
from common.guarded_client import GuardedClient
from common.job_log import open_job_log
from common.outage import until_available
from common.settings import Settings


async def notify(_catalogue: Catalogue, settings: Settings) -> bool:
    """Until SIGTERM or SIGINT. False: it ended by itself."""
    metrics = NotifierMetrics()
    port = settings.notifier_metrics_port
    with exposed(metrics.registry, host=settings.metrics_host, port=port):
        return await _notify(settings, metrics)


async def _notify(settings: Settings, metrics: NotifierMetrics) -> bool:
    database = await until_available(Database.open, settings.ledger_url)
    log = await until_available(open_job_log, settings.log_url, partitions=settings.partitions)
    client = GuardedClient(webhook_guard(settings), connections=MOST_SENDING)
    notifier = Notifier(
        database=database, log=log, client=client, base=settings.base_url, metrics=metrics
    )
    looks = at_notifier(database)
    metrics.registry.register(looks)
    try:
        return await until_stopped(notifier.run(), looks.run())
    finally:
        await client.close()
        await log.close()
        await database.close()
