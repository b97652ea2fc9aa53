"""Clients that send or read so slowly, or so much of nothing, that they only take up room."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import psutil
import pytest
import uvloop

from api.intake.connections import MAX_HEAD_BYTES
from api.recorder import Recorder
from tests.abuse.over_tcp import over_tcp
from tests.integration.api.running import Api

pytestmark = pytest.mark.anyio

SECONDS = 1.0  # that a head may take here; of bodies it is looked at as often
ENDED = 10 * SECONDS  # by which a slow client is gone, however busy the machine
HEAD = b"POST /v1/predictions HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
SLOW_BODY = HEAD + b"Content-Length: 100000\r\n\r\n"
JOB = {"model": "darkroom/echo", "input": {"prompt": "a"}}


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": uvloop.new_event_loop}  # as the API runs


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with over_tcp(tmp_path_factory.mktemp("slow"), request_seconds=SECONDS) as api:
        recording = asyncio.create_task(Recorder(log=api.log, database=api.database).run())
        yield api
        recording.cancel()
        await asyncio.wait({recording})


class Slow:
    """A client that takes its time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._dripping: asyncio.Task[None] | None = None

    async def drip(self, content: bytes, each: bytes = b" ") -> None:
        """Send `content`, and then ten bytes a second for ever."""
        self.writer.write(content)
        self._dripping = asyncio.create_task(self._drip(each))

    async def _drip(self, each: bytes) -> None:
        while not self.writer.is_closing():
            self.writer.write(each)
            await asyncio.sleep(0.1 * len(each))

    async def told(self) -> bytes:
        """All that the server said, once it has ended the connection."""
        said = b""
        try:
            async with asyncio.timeout(ENDED):
                while piece := await self.reader.read(65_536):
                    said += piece
        except ConnectionError:  # what went on arriving can make a reset of the end
            pass
        finally:
            if self._dripping is not None:
                self._dripping.cancel()
            self.writer.close()
        return said


@asynccontextmanager
async def slow(api: Api, count: int = 1) -> AsyncIterator[list[Slow]]:
    address = api.client.base_url.host, api.client.base_url.port
    clients = [Slow(*await asyncio.open_connection(*address)) for _ in range(count)]
    yield clients
    for client in clients:
        if client._dripping is not None:
            client._dripping.cancel()
        client.writer.transport.abort()


def problem(reply: bytes) -> tuple[int, str]:
    head, _, body = reply.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head.lower(), reply
    assert b"connection: close" in head.lower()
    document = json.loads(body)
    return int(head.split()[1]), document["code"]


async def test_two_hundred_slow_bodies_are_ended_and_keep_nobody_out(api: Api) -> None:
    async with slow(api, 200) as clients:
        for client in clients:
            await client.drip(SLOW_BODY)
        assert (await api.client.post("/v1/predictions", json=JOB)).status_code == 202
        replies = await asyncio.gather(*(client.told() for client in clients))
    assert {problem(reply) for reply in replies} == {(408, "request_too_slow")}
    assert (await api.client.post("/v1/predictions", json=JOB)).status_code == 202
    assert api.parts.uploads.held == 0


@pytest.mark.parametrize(
    ("begun", "each"),
    [
        (b"", b"G"),  # the method, a letter at a time
        (b"GET /livez HTTP/1.1\r\nHost: here\r\nX-Long: ", b"x"),
        (b"GET /livez HTTP/1.1\r\nHost: here\r\n", b"X-A: b\r\n"),
        (b"\r\n", b"\r\n"),
    ],
)
async def test_slow_headers_are_ended(api: Api, begun: bytes, each: bytes) -> None:
    async with slow(api) as [client]:
        await client.drip(begun, each)
        reply = await client.told()
    assert problem(reply) == (408, "request_too_slow") or (
        problem(reply) == (400, "invalid_http") and each == b"G"  # GGGG is no method
    )


async def test_who_connects_and_says_nothing_is_ended(api: Api) -> None:
    async with slow(api) as [client]:
        assert problem(await client.told()) == (408, "request_too_slow")


async def test_who_falls_silent_after_a_reply_is_ended(api: Api) -> None:
    async with slow(api) as [client]:
        await client.drip(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n", b"\r\n")
        assert (await client.told()).startswith(b"HTTP/1.1 200")


async def test_a_refused_body_that_goes_on_slowly_is_ended(api: Api) -> None:
    async with slow(api) as [client]:
        await client.drip(b"POST /v1/nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n")
        assert (await client.told()).startswith(b"HTTP/1.1 404")


async def test_a_client_that_closes_its_half_is_let_go(api: Api) -> None:
    async with slow(api) as [client]:
        client.writer.write(SLOW_BODY)
        client.writer.write_eof()
        assert await client.told() == b""


@pytest.mark.parametrize(
    ("begun", "each"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: here\r\nX-Endless: ", b"x" * 8192),
        (b"GET /livez?", b"x" * 8192),
        (b"GET /livez HTTP/1.1\r\nHost: here\r\n", b"X-Many: of them\r\n" * 500),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;", b"x" * 8192),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: of many\r\n" * 500),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ", b"x" * 8192),
    ],
    ids=["header", "query", "headers", "chunk extension", "trailers", "trailer"],
)
async def test_what_never_ends_is_cut_off_after_64_kilobytes(
    api: Api, begun: bytes, each: bytes
) -> None:
    async with slow(api) as [client]:
        told = asyncio.create_task(client.told())
        client.writer.write(begun)
        sent = 0
        with suppress(ConnectionError):
            while sent < 100 * MAX_HEAD_BYTES and not told.done():
                client.writer.write(each)
                await client.writer.drain()
                sent += len(each)
                await asyncio.sleep(0)
        assert problem(await told)[1] in ("head_too_large", "invalid_http")
    assert sent < 100 * MAX_HEAD_BYTES
    assert (await api.client.get("/livez")).status_code == 200


async def test_who_is_slow_but_not_that_slow_is_served(api: Api) -> None:
    body = json.dumps({**JOB, "metadata": {"a": "b" * 12_000}}).encode()
    head = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with slow(api) as [client]:
        client.writer.write(head)
        for start in range(0, len(body), 1000):
            client.writer.write(body[start : start + 1000])
            await asyncio.sleep(0.25)
        assert (await client.told()).startswith(b"HTTP/1.1 202")


async def test_a_request_that_waits_for_its_reply_is_not_slow(api: Api) -> None:
    wait = {"Prefer": f"wait={int(4 * SECONDS)}"}
    reply = await api.client.post("/v1/predictions", json=JOB, headers=wait)
    assert reply.status_code == 202  # no consumer runs here, so the whole time passed


def reading_little(api: Api) -> socket.socket:
    """A connection whose reader has hardly any room."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect((api.client.base_url.host, api.client.base_url.port))
    reader.setblocking(False)
    return reader


async def established(api: Api, reader: socket.socket) -> bool:
    """Whether the server still holds the connection."""
    mine = reader.getsockname()[1]
    open_ones = await asyncio.to_thread(psutil.Process().net_connections, "tcp4")
    port = api.client.base_url.port
    return any(
        each.raddr and each.raddr.port == mine and each.laddr.port == port for each in open_ones
    )


async def read_ten_bytes_a_second(api: Api, reader: socket.socket) -> None:
    """Until the server ends it."""
    async with asyncio.timeout(3 * ENDED):
        while not await established(api, reader):  # noqa: ASYNC110  it is the server's
            await asyncio.sleep(0.01)
        while await established(api, reader):
            try:
                reader.recv(1)
            except BlockingIOError:
                pass
            except ConnectionError:
                return
            await asyncio.sleep(0.1)


async def test_who_reads_a_large_result_at_ten_bytes_a_second_is_ended(api: Api) -> None:
    job = (await api.client.post("/v1/predictions", json=JOB)).json()
    await api.succeed(job["id"], files=[bytes(24 * 1024 * 1024)])
    link = (await api.ended(job))["access_link"]
    path = link.removeprefix(str(api.client.base_url).rstrip("/"))
    with reading_little(api) as reader:
        reader.send(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        await read_ten_bytes_a_second(api, reader)
    assert len((await api.client.get(path)).content) == 24 * 1024 * 1024


async def test_who_does_not_read_a_stream_is_ended(api: Api) -> None:
    with reading_little(api) as reader:
        reader.send(b"GET /v1/events HTTP/1.1\r\nHost: here\r\n\r\n")
        big = {**JOB, "metadata": {"a": "b" * 15_000}, "input": {"prompt": "c" * 30_000}}
        told = asyncio.create_task(_make(api, big))
        await read_ten_bytes_a_second(api, reader)
        told.cancel()


async def _make(api: Api, body: dict[str, Any]) -> None:
    """Jobs that end, and so events, for ever."""
    while True:
        reply = await api.client.post("/v1/predictions", json=body)
        await api.succeed(reply.json()["id"], text="done")
