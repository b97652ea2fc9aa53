"""`darkroom watch`, against the API over TCP."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import msgspec
import pytest

from cli.client import Client
from cli.event_stream import follow
from common.settings import Settings
from tests.integration.api.conftest import api, jpeg, settings
from tests.integration.api.running import DEADLINE, Api
from tests.integration.api.serving import served

__all__ = ["api", "jpeg", "settings"]

pytestmark = pytest.mark.anyio


@pytest.fixture
async def url(api: Api, settings: Settings) -> AsyncIterator[str]:
    async with served(api, settings) as parts:
        yield parts.settings.public_url


async def watch(url: str, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "watch", "--url", url, *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_job_is_watched_to_its_end(api: Api, url: str, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    watching = await watch(url, made["id"])
    assert watching.stdout is not None
    async with asyncio.timeout(60):
        first = (await watching.stdout.readline()).decode()
        await api.succeed(made["id"], text="a red circle")
        rest = (await watching.stdout.read()).decode()
        assert await watching.wait() == 0
    assert f"progress   {made['id']}  starting" in first
    assert f"completed  {made['id']}  succeeded  a red circle" in rest.splitlines()[-1]


async def test_the_exit_code_says_that_a_job_failed(api: Api, url: str, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    await api.fail(made["id"], "bad_input", "The PNG is damaged.")
    watching = await watch(url, made["id"], "--json")
    async with asyncio.timeout(60):
        output, _ = await watching.communicate()
    assert watching.returncode == 1
    last = msgspec.json.decode(output.splitlines()[-1])
    assert (last["event"], last["data"]["error"]) == ("completed", "The PNG is damaged.")


async def test_a_job_that_is_not_there_is_said(api: Api, url: str) -> None:
    watching = await watch(url, "none")
    async with asyncio.timeout(60):
        _, complaint = await watching.communicate()
    assert watching.returncode == 2
    assert b"check its id" in complaint


async def test_after_a_cut_the_events_go_on_where_they_were() -> None:
    """A proxy that cuts the connection, and the server after it."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        asked.append(head.partition("last-event-id: ")[2].partition("\r\n")[0])
        number = len(asked)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: ping\n\n")
        writer.write(f"event: progress\ndata: {{}}\nid: {number}\n\nevent: comp".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    ids: list[str] = []
    async with server, asyncio.timeout(DEADLINE), Client(f"http://127.0.0.1:{port}") as client:
        async for event in follow(client, "/v1/events"):
            ids.append(event.id)
            if len(ids) == 3:
                break
    assert (ids, asked[:3]) == (["1", "2", "3"], ["", "1", "2"])
