"""What only a real server shows: bodies refused while the client still sends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from common.settings import Settings
from tests.integration.api.running import DEADLINE, Api, running_api
from tests.integration.api.serving import served

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with running_api(settings) as api:
        yield api


@pytest.fixture
async def client(api: Api, settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        served(api, settings) as parts,
        httpx2.AsyncClient(
            base_url=parts.settings.public_url, timeout=DEADLINE, trust_env=False
        ) as client,
    ):
        yield client


async def test_33_mebibytes_are_refused_and_the_connection_lives_on(
    api: Api, client: httpx2.AsyncClient
) -> None:
    reply = await client.post(
        "/v1/predictions",
        data={"model": "darkroom/captioner"},
        files={"image": ("a.jpg", bytes(33 * 1024 * 1024))},
    )
    assert (reply.status_code, reply.json()["code"]) == (413, "file_too_large")
    assert (await client.get("/livez")).status_code == 200
    assert await api.nothing_kept()


async def test_a_client_that_goes_away_leaves_nothing(
    api: Api, client: httpx2.AsyncClient, jpeg: bytes
) -> None:
    address = (client.base_url.host, client.base_url.port)
    _, writer = await asyncio.open_connection(*address)
    writer.write(
        b"POST /v1/predictions HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(DEADLINE):
        counted = ""
        while 'status="499"' not in counted:
            counted = (await client.get("/metrics")).text
    assert await api.nothing_kept()


async def test_links_use_the_address_that_the_client_used(
    client: httpx2.AsyncClient, jpeg: bytes
) -> None:
    reply = await client.post(
        "/v1/predictions", data={"model": "darkroom/captioner"}, files={"image": ("a.jpg", jpeg)}
    )
    link = reply.json()["access_link"]
    assert link.startswith(str(client.base_url).rstrip("/"))
    assert (await client.get(link)).status_code == 202
