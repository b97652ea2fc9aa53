"""HTTP: `python -m api serve`."""

from __future__ import annotations

import asyncio
import gc
from contextlib import nullcontext

import structlog

from api.access.given_keys import add_given_keys, given_keys
from api.access.keyring import say_if_there_is_no_key
from api.app import create_app
from api.database.database import Database
from api.intake.connections import allow_connections, http_server
from common.catalogue import Catalogue
from common.errors import SettingsInvalid, UnknownModel
from common.job_log import open_job_log
from common.object_store import open_object_store
from common.outage import until_available
from common.processes import stop_at_signal
from common.settings import Settings

logger = structlog.get_logger()


async def serve(catalogue: Catalogue, settings: Settings) -> bool:
    """Until SIGTERM or SIGINT. False: it could not listen."""
    _check_auth(settings)
    _check_title_model(catalogue, settings.title_model)
    given = given_keys(settings)
    database = await until_available(Database.open, settings.ledger_url)
    await until_available(add_given_keys, database, given)
    if settings.auth_on:
        await until_available(say_if_there_is_no_key, database)
    log = await until_available(open_job_log, settings.log_url, partitions=settings.partitions)
    store = await until_available(open_object_store, settings.store_url)
    app = create_app(
        settings=settings, catalogue=catalogue, log=log, store=store, database=database
    )
    allow_connections()
    server = http_server(app, settings)
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
    return server.started


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
