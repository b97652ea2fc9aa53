"""The two processes of the API: `python -m api serve` (HTTP) and `python -m api record`."""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import nullcontext
from enum import IntEnum
from typing import TYPE_CHECKING

import structlog
import uvloop

from common.catalogue import Catalogue, read_catalogue
from common.errors import CatalogueInvalid, SettingsInvalid, UnknownModel
from common.job_log import open_job_log
from common.object_store import open_object_store
from common.outage import until_available
from common.processes import stop_at_signal
from common.settings import Settings, read_settings
from common.telemetry import configure_logs

if TYPE_CHECKING:
    from api.database.database import Database

LAST_REPLIES_SECONDS = 3  # for requests that are under way when the API stops

logger = structlog.get_logger()


class ExitCode(IntEnum):
    """How a process ended."""

    STOPPED = 0
    FAILED = 1
    USAGE = 2


async def serve(catalogue: Catalogue, settings: Settings) -> ExitCode:
    """HTTP, until SIGTERM or SIGINT."""
    import uvicorn

    from api.app import create_app
    from api.database.database import Database
    from api.keyring import say_if_there_is_no_key

    _check_auth(settings)
    _check_title_model(catalogue, settings.title_model)
    database = await until_available(Database.open, settings.ledger_url)
    if settings.auth_on:
        await until_available(say_if_there_is_no_key, database)
    log = await until_available(open_job_log, settings.log_url, partitions=settings.partitions)
    store = await until_available(open_object_store, settings.store_url)
    app = create_app(
        settings=settings, catalogue=catalogue, log=log, store=store, database=database
    )
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=LAST_REPLIES_SECONDS,
    )
    server = uvicorn.Server(config)
    server.capture_signals = nullcontext  # type: ignore[assignment]  # ours do more
    stop = stop_at_signal()

    async def leave() -> None:
        await stop.wait()
        app.state.leave()  # who waits for a result gets the job as it stands
        server.should_exit = True

    leaving = asyncio.create_task(leave())
    gc.freeze()  # what start-up made stays: no collection need walk it, a twelfth of an upload
    try:
        await server.serve()
    finally:
        leaving.cancel()
        await log.close()
        await database.close()
    return ExitCode.STOPPED if server.started else ExitCode.FAILED


async def record(catalogue: Catalogue, settings: Settings) -> ExitCode:
    """Events into the ledger, what the log lost back into it, and webhooks, until SIGTERM."""
    from api.database.database import Database
    from api.deadlines import Deadlines
    from api.notifier import MOST_SENDING, Notifier
    from api.recorder import Recorder
    from api.sweeper import Sweeper
    from api.webhook_asking import webhook_guard
    from common.guarded_client import GuardedClient

    database = await until_available(Database.open, settings.ledger_url)
    log = await until_available(open_job_log, settings.log_url, partitions=settings.partitions)
    recorder = Recorder(log=log, database=database)
    sweeper = Sweeper(
        log=log,
        database=database,
        models=[model.name for model in catalogue],
        every_seconds=settings.sweep_seconds,
        after_seconds=settings.sweep_after_seconds,
    )
    stop = stop_at_signal()
    deadlines = Deadlines(log=log, database=database)
    client = GuardedClient(webhook_guard(settings), connections=MOST_SENDING)
    notifier = Notifier(database=database, log=log, client=client, base=settings.base_url)
    loops = [recorder.run(), sweeper.run(), deadlines.run(), notifier.run()]
    loops.append(_retain(database, settings))
    tasks = [asyncio.create_task(loop) for loop in loops]
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (stopped, *tasks):
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                logger.error("record_ended", error=repr(ended))
        await deadlines.close()
        await client.close()
        await log.close()
        await database.close()
    return ExitCode.STOPPED if stop.is_set() else ExitCode.FAILED


async def _retain(database: Database, settings: Settings) -> None:
    """Recording does not wait for the object store; this does."""
    from api.retention import Retention

    store = await until_available(open_object_store, settings.store_url)
    kept = settings.result_seconds
    await Retention(store=store, database=database, result_seconds=kept).run()


def _check_auth(settings: Settings) -> None:
    """Without keys, whoever reaches the port may do everything."""
    if not settings.auth_on and not settings.on_loopback:
        raise SettingsInvalid(
            f"DARKROOM_AUTH=off with DARKROOM_HOST={settings.host}: whoever reaches the port could "
            "do everything. Set DARKROOM_AUTH to on, or DARKROOM_HOST to 127.0.0.1."
        )


def _check_title_model(catalogue: Catalogue, model: str) -> None:
    """Without it the describer alone cannot work, so its absence does not stop the rest."""
    try:
        makes_images = catalogue[model].makes_images
    except UnknownModel as error:
        logger.warning("title_model_unknown", setting="DARKROOM_TITLE_MODEL", reason=str(error))
        return
    if makes_images:
        raise SettingsInvalid(f"DARKROOM_TITLE_MODEL={model}: it makes images, no titles")


def main() -> int:
    roles = {"serve": serve, "record": record}
    if len(sys.argv) != 2 or sys.argv[1] not in roles:
        print("usage: python -m api serve|record", file=sys.stderr)
        return ExitCode.USAGE
    try:
        settings = read_settings()
        configure_logs(settings.log_level)
        return uvloop.run(roles[sys.argv[1]](read_catalogue(settings.catalogue_file), settings))
    except (SettingsInvalid, CatalogueInvalid) as error:
        print(f"api {sys.argv[1]}: {error}", file=sys.stderr)
        return ExitCode.USAGE
    except KeyboardInterrupt:  # before there was anything to finish
        return ExitCode.STOPPED


if __name__ == "__main__":
    sys.exit(main())
