"""Another API beside a test's own: its own reader of the log, over TCP by the product's server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from api.app import create_app
from api.dependencies import Parts
from api.intake.connections import http_server
from common.catalogue import read_catalogue
from common.settings import Settings
from tests.integration.api.running import Api


@asynccontextmanager
async def served(
    api: Api, settings: Settings, *, port: int = 0, unsent: int | None = None
) -> AsyncIterator[Parts]:
    """Its parts; `settings.public_url` of them says where it listens.

    `unsent`: the bytes of a reply that the kernel keeps while the client does not read.
    """
    listening = socket.create_server(("127.0.0.1", port), backlog=1000)
    if unsent is not None:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, unsent)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    app = create_app(
        settings=settings.model_copy(update={"public_url": url}),
        catalogue=read_catalogue(settings.catalogue_file),
        log=api.log,
        store=api.store,
        database=api.database,
    )
    server = http_server(app, settings)
    serving = asyncio.create_task(server.serve([listening]))
    while not server.started:  # noqa: ASYNC110  it offers nothing to wait for
        await asyncio.sleep(0.01)
    yield app.state.parts
    app.state.leave()
    server.should_exit = True
    await serving
    listening.close()
