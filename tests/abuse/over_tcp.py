"""The application over TCP, through the server that the product runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2

from common.settings import Settings
from tests.abuse.conftest import echo_catalogue
from tests.integration.api.running import DEADLINE, Api, running_api
from tests.integration.api.serving import served


@asynccontextmanager
async def over_tcp(folder: Path, **more: Any) -> AsyncIterator[Api]:
    """On the embedded stack below `folder`, with an echo; `more` are settings."""
    settings = Settings(
        data_dir=folder / "data",
        job_log_url=f"sqlite:///{folder}/data/log.sqlite",
        object_store_url=f"file://{folder}/data/objects",
        database_url=f"sqlite+aiosqlite:///{folder}/data/ledger.sqlite",
        model_names=echo_catalogue(folder)["DARKROOM_MODEL_NAMES"],
        title_model="darkroom/echo",
        **more,
    )
    async with (
        running_api(settings) as inside,
        served(inside, settings, unsent=16_384) as parts,
        httpx2.AsyncClient(
            base_url=parts.settings.public_url, timeout=DEADLINE, trust_env=False
        ) as client,
    ):
        yield replace(inside, client=client)


async def exchange(api: Api, sent: bytes) -> bytes:
    """The first reply to these bytes, headers and body."""
    address = api.client.base_url.host, api.client.base_url.port
    reader, writer = await asyncio.open_connection(*address)
    try:
        async with asyncio.timeout(DEADLINE):
            writer.write(sent)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            return head + await reader.readexactly(length)
    finally:
        writer.transport.abort()
