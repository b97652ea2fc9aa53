"""`darkroom webhooks` and `darkroom webhook-listen` as a user types them, against a real server."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.database.webhook_secrets import new_secret
from cli.exit_codes import ExitCode
from common.settings import Settings
from tests.integration.api.running import Api
from tests.integration.api.serving import served
from tests.webhooks import notifying

pytestmark = pytest.mark.anyio
PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture
async def url(api: Api, settings: Settings) -> AsyncIterator[str]:
    async with served(api, settings) as parts:
        yield parts.settings.public_url


async def start(*words: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", *words, cwd=PROJECT, env=dict(os.environ), stdout=PIPE,
        stderr=PIPE,
    )  # fmt: skip


async def run(*words: str) -> tuple[int, str, str]:
    process = await start(*words)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), err.decode()


@asynccontextmanager
async def listening(*words: str) -> AsyncIterator[tuple[str, Process]]:
    """The receiver's address, once it says so, and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await start("webhook-listen", "--port", str(port), *words)
    assert process.stderr is not None
    address = f"http://127.0.0.1:{port}"
    line = await asyncio.wait_for(process.stderr.readline(), 60)
    assert address in line.decode()
    try:
        yield address, process
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == ExitCode.OK


async def line_of(process: Process) -> Any:
    assert process.stdout is not None
    return json.loads(await asyncio.wait_for(process.stdout.readline(), 60))


async def test_a_webhook_goes_from_create_over_test_to_the_listener(api: Api, url: str) -> None:
    where = ("--url", url)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    status, out, err = await run("webhooks", "create", f"http://127.0.0.1:{port}/hook", *where)
    assert status == ExitCode.OK, err
    made = json.loads(out)
    listener = await start("webhook-listen", "--port", str(port), "--secret", made["secret"])
    try:
        assert listener.stderr is not None
        await asyncio.wait_for(listener.stderr.readline(), 60)
        await _listens(port)
        async with notifying(api.database, api.log):
            status, out, err = await run("webhooks", "test", made["id"], *where)
            assert status == ExitCode.OK, err
            line = await line_of(listener)
    finally:
        listener.terminate()
        await listener.wait()
    assert (line["verified"], line["id"]) == (True, json.loads(out)["id"])
    assert line["body"]["type"] == "test"
    status, out, _ = await run("webhooks", "list", "--json", *where)
    assert [each["id"] for each in json.loads(out)] == [made["id"]]
    _, out, _ = await run("webhooks", "deliveries", *where)
    assert line["id"] in out.split()
    status, out, _ = await run("webhooks", "deliveries", "--json", *where)
    assert [each["event"] for each in json.loads(out)] == ["test"]


async def test_the_listener_takes_the_servers_own_secret_and_says_what_does_not_verify(
    api: Api, url: str
) -> None:
    async with listening("--url", url) as (address, process):
        await _listens(int(address.rpartition(":")[2]))
        async with httpx2.AsyncClient(timeout=60, trust_env=False) as client:
            reply = await client.post(address, content=b"{}", headers={"webhook-id": "x"})
        assert reply.status_code == 401
        line = await line_of(process)
        assert (line["verified"], "--secret" in line["reason"]) == (False, True)


async def test_what_makes_no_sense_is_told(url: str) -> None:
    status, _, err = await run("webhooks", "create", "http://10.0.0.1/", "--url", url)
    assert status == ExitCode.USAGE
    assert "not public" in err
    assert ".." not in err
    status, _, err = await run("webhooks", "rotate", "default", "--overlap", "soon", "--url", url)
    assert status == ExitCode.USAGE
    assert "12h" in err
    status, _, err = await run("webhook-listen", "--secret", "whsec_%%%")
    assert status == ExitCode.USAGE
    assert "base64" in err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, _, err = await run("webhook-listen", "--secret", new_secret(), "--port", port)
    assert status == ExitCode.USAGE
    assert "listens there" in err


async def _listens(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
