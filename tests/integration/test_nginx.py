"""The real nginx with our configuration, in front of two servers that tell what reaches them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from infra.ports import free_ports
from infra.proxy import Nginx
from tests.certificates import certified

pytestmark = pytest.mark.anyio
SECONDS = 20.0


@dataclass
class Upstream:
    """A server that answers what `reply` holds, part by part, as the test puts it in.

    With `always` it answers each request at once.
    """

    port: int
    always: bool = False
    heads: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    bodies: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    reply: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.put_nowait(head)
            if self.always:
                self.answer()
            receiving = asyncio.create_task(self._receive(reader))
            while part := await self.reply.get():
                writer.write(part)
                await writer.drain()
            receiving.cancel()
        finally:
            writer.close()

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        while part := await reader.read(65536):
            self.bodies.put_nowait(part)

    def answer(self, *parts: bytes) -> None:
        for part in (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", *parts, b""):
            self.reply.put_nowait(part)


@dataclass
class Behind:
    """What stands behind nginx, and who speaks to it."""

    nginx: Nginx
    trust: ssl.SSLContext
    ports: list[int]
    running: AsyncExitStack

    @property
    def url(self) -> str:
        return f"https://localhost:{self.nginx.port}"

    async def upstream(self, port: int) -> Upstream:
        upstream = Upstream(port)
        server = await asyncio.start_server(upstream.serve, "127.0.0.1", port)
        await self.running.enter_async_context(server)
        return upstream

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.url, verify=self.trust, timeout=SECONDS)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nginx, Path, list[int]]]:
    folder = tmp_path_factory.mktemp("nginx")
    made = certified(folder, "localhost")
    port, one, two, minio = free_ports(4)
    both = f"upstream apis {{ server 127.0.0.1:{one}; server 127.0.0.1:{two}; }}"
    nginx = Nginx(
        folder / "run",
        port,
        {
            "http {": f"http {{ {both}",
            "http://api:8000": "http://apis",
            "minio:9000": f"127.0.0.1:{minio}",
            "/etc/nginx/tls/certificate.pem": str(made.certificate),
            "/etc/nginx/tls/key.pem": str(made.key),
        },
    )
    nginx.start()
    yield nginx, made.authority, [one, two, minio]
    nginx.stop()


@pytest.fixture
async def behind(started: tuple[Nginx, Path, list[int]]) -> AsyncIterator[Behind]:
    nginx, authority, ports = started
    async with AsyncExitStack() as running:
        yield Behind(nginx, ssl.create_default_context(cafile=authority), ports, running)


async def soon(queue: asyncio.Queue[bytes]) -> bytes:
    return await asyncio.wait_for(queue.get(), SECONDS)


async def test_the_part_of_an_upload_that_was_sent_is_there_before_the_rest(behind: Behind) -> None:
    api = await behind.upstream(behind.ports[0])
    go_on = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await go_on.wait()
        yield b"second"

    async with behind.client() as client:
        asking = asyncio.create_task(client.post("/v1/files", content=body()))
        assert b"first" in await soon(api.bodies)
        go_on.set()
        assert b"second" in await soon(api.bodies)
        api.answer(b"done")
        assert (await asking).text == "done"


async def test_the_part_of_a_reply_that_was_sent_is_there_before_the_rest(behind: Behind) -> None:
    api = await behind.upstream(behind.ports[0])
    api.reply.put_nowait(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: 1\n\n")
    async with behind.client() as client, client.stream("GET", "/v1/events") as reply:
        parts = reply.aiter_raw()
        assert await asyncio.wait_for(anext(parts), SECONDS) == b"id: 1\n\n"
        api.reply.put_nowait(b"id: 2\n\n")
        assert await asyncio.wait_for(anext(parts), SECONDS) == b"id: 2\n\n"
        api.reply.put_nowait(b"")


async def test_processes_take_turns_and_one_that_is_away_is_passed_over(behind: Behind) -> None:
    one = await behind.upstream(behind.ports[0])
    one.always = True
    async with behind.client() as client, asyncio.timeout(SECONDS):
        assert {(await client.get("/livez")).status_code for _ in range(4)} == {200}
        two = await behind.upstream(behind.ports[1])
        two.always = True
        while two.heads.empty():  # until nginx tries again the one that was away
            assert (await client.get("/livez")).status_code == 200
            await asyncio.sleep(0.1)


async def test_the_api_learns_who_asked_and_for_which_name(behind: Behind) -> None:
    api = await behind.upstream(behind.ports[0])
    api.answer()
    async with behind.client() as client:
        await client.get("/livez", headers={"X-Forwarded-For": "9.9.9.9"})
    head = api.heads.get_nowait().lower()
    assert f"host: localhost:{behind.nginx.port}\r\n" in head
    assert "x-forwarded-for: 127.0.0.1\r\n" in head
    assert "x-forwarded-proto: https\r\n" in head


async def test_without_any_api_process_the_answer_says_so_in_the_apis_form(behind: Behind) -> None:
    async with behind.client() as client:
        reply = await client.get("/livez")
    assert reply.status_code == 503
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["code"] == "not_ready"
    assert reply.headers["retry-after"] == "1"


async def test_an_api_process_that_dies_over_a_request_leaves_open_what_became_of_it(
    behind: Behind,
) -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    server = await asyncio.start_server(die, "127.0.0.1", behind.ports[0])
    async with server, behind.client() as client:
        async with asyncio.timeout(SECONDS):  # nginx leaves those alone that were away before
            reply = await client.post("/v1/predictions", json={})
            while reply.status_code == 503:
                await asyncio.sleep(0.2)
                reply = await client.post("/v1/predictions", json={})
    assert (reply.status_code, reply.json()["code"]) == (502, "no_answer")
    assert "Idempotency-Key" in reply.json()["detail"]


async def test_a_body_beyond_the_limit_is_refused_at_once(behind: Behind) -> None:
    await behind.upstream(behind.ports[0])
    async with behind.client() as client:
        reply = await client.post("/v1/files", content=b"x" * (64 * 1024 * 1024 + 1))
    assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")


async def test_links_to_results_reach_the_store_under_the_name_they_are_signed_for(
    behind: Behind,
) -> None:
    store = await behind.upstream(behind.ports[2])
    store.answer(b"bytes")
    async with behind.client() as client:
        reply = await client.get("/darkroom/outputs/a/b.png?X-Amz-Signature=1")
        refused = await client.put("/darkroom/outputs/a/b.png", content=b"x")
    assert reply.text == "bytes"
    head = store.heads.get_nowait()
    assert head.startswith("GET /darkroom/outputs/a/b.png?X-Amz-Signature=1 HTTP/1.1\r\n")
    assert f"Host: localhost:{behind.nginx.port}\r\n" in head
    assert refused.status_code == 403
    assert store.heads.empty()


async def test_one_processs_metrics_are_not_shown(behind: Behind) -> None:
    await behind.upstream(behind.ports[0])
    async with behind.client() as client:
        assert (await client.get("/metrics")).status_code == 404


async def test_plain_http_on_the_port_is_sent_to_tls(behind: Behind) -> None:
    async with httpx2.AsyncClient(timeout=SECONDS) as client:
        reply = await client.get(f"http://localhost:{behind.nginx.port}/docs?a=b")
    assert reply.status_code == 308
    assert reply.headers["location"] == f"{behind.url}/docs?a=b"
