"""A consumer of one model: python -m consumers MODEL."""

from __future__ import annotations

import sys
from enum import IntEnum
from pathlib import Path

import structlog
import uvloop

from common.catalogue import ModelSpec, read_catalogue
from common.errors import CatalogueInvalid, ModelUnavailable, SettingsInvalid, UnknownModel
from common.events import WorkerState
from common.guarded_client import GuardedClient
from common.job_log import open_job_log
from common.object_store import open_object_store
from common.outage import until_available
from common.processes import stop_at_signal
from common.settings import Settings
from common.startup import begin
from common.tracing import exported
from common.url_guard import UrlGuard
from consumers.consumer import Consumer, Limits
from consumers.engine_process import EngineProcess
from consumers.fetching import Fetching
from consumers.reporter import Metrics, Reporter

logger = structlog.get_logger()


class ExitCode(IntEnum):
    """How a consumer ended."""

    STOPPED = 0
    USAGE = 2
    MODEL_UNAVAILABLE = 3


async def consume(model: ModelSpec, settings: Settings) -> None:
    """Until SIGTERM or SIGINT. Raises ModelUnavailable, SettingsInvalid."""
    client = GuardedClient(UrlGuard(settings.url_allowlist))
    log = await until_available(open_job_log, settings.log_url, partitions=settings.partitions)
    store = await until_available(open_object_store, settings.store_url)
    engine = EngineProcess(
        model,
        device=settings.device,
        dtype=settings.dtype,
        max_pixels=settings.max_image_pixels,
    )
    reporter = Reporter(log, model=model.name, metrics=Metrics(model.name), worker=settings.worker)
    limits = Limits(
        recycle_jobs=settings.recycle_jobs,
        recycle_mib=settings.recycle_mib,
        grace_seconds=settings.grace_seconds,
        benchmark_file=Path(settings.benchmark_file) if settings.benchmark_file else None,
    )
    consumer = Consumer(
        model=model,
        log=log,
        store=store,
        fetching=Fetching(store, client, most_bytes=settings.max_image_bytes),
        engine=engine,
        reporter=reporter,
        limits=limits,
    )
    try:
        reporter.serve_metrics(settings.metrics_host, settings.metrics_port)
        await consumer.run(stop_at_signal())
        await reporter.say(WorkerState.STOPPED)
    finally:
        await engine.close()
        reporter.close()
        await client.close()
        await log.close()


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m consumers MODEL", file=sys.stderr)
        return ExitCode.USAGE
    try:
        settings = begin()
        model = read_catalogue(settings.catalogue_file)[sys.argv[1]]
        with exported(settings.otlp_endpoint, "darkroom-consumer"):
            uvloop.run(consume(model, settings))
    except (SettingsInvalid, CatalogueInvalid, UnknownModel) as error:
        print(f"consumer: {error}", file=sys.stderr)
        return ExitCode.USAGE
    except KeyboardInterrupt:  # before there was anything to finish
        return ExitCode.STOPPED
    except ModelUnavailable as error:
        logger.error("model_unavailable", model=sys.argv[1], reason=str(error))
        return ExitCode.MODEL_UNAVAILABLE
    return ExitCode.STOPPED


if __name__ == "__main__":
    sys.exit(main())
