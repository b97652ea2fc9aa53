"""The client against servers of this machine: what it reaches, and what it must never reach."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from common.errors import UrlRefused, UrlUnreachable
from common.guarded_client import MOST_REDIRECTS, GuardedClient, Rest
from common.url_guard import Address, UrlGuard
from tests.certificates import certified
from tests.listening import OK, Heard, listening
from tests.machine import lacking, low_ports
from tests.unit.common.test_url_guard import HOSTILE

pytestmark = pytest.mark.anyio


def naming(*answers: str) -> tuple[Callable[[str], Awaitable[list[Address]]], list[str]]:
    """A resolver that gives one answer after the other, and the names it was asked for."""
    asked: list[str] = []

    async def resolve(name: str) -> list[Address]:
        asked.append(name)
        answer = answers[min(len(asked), len(answers)) - 1]
        return [ip_address(address) for address in answer.split(",")]

    return resolve, asked


@asynccontextmanager
async def client_of(guard: UrlGuard, **options: object) -> AsyncIterator[GuardedClient]:
    client = GuardedClient(guard, **options)  # type: ignore[arg-type]
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def trap() -> AsyncIterator[Heard]:
    """On the port that URLs mean by themselves, so that nothing but the address can refuse."""
    try:
        with low_ports():
            async with listening(OK, port=80) as heard:
                yield heard
    except PermissionError:
        lacking("port 80 is for privileged users here")


async def test_no_spelling_reaches_a_listener_of_this_machine() -> None:
    resolve, _ = naming("127.0.0.1")
    async with trap() as heard, client_of(UrlGuard(), resolver=resolve) as client:
        for url in [*(url for url, _ in HOSTILE), "http://rebound.example/", "http://example.org/"]:
            with pytest.raises(UrlRefused):
                await client.send("POST", url, seconds=5, most_bytes=10, content=b"x")

    assert heard.connections == 0


async def test_the_trap_hears_what_is_allowed() -> None:
    resolve, _ = naming("127.0.0.1")
    guard = UrlGuard("127.0.0.1")
    async with trap() as heard, client_of(guard, resolver=resolve) as client:
        await client.send("GET", "http://rebound.example/", seconds=5, most_bytes=10)

    assert heard.connections == 1


@pytest.mark.parametrize("inner", ["127.0.0.1", "8.8.8.8,127.0.0.1", "::ffff:127.0.0.1"])
async def test_a_name_with_any_inner_address_is_never_connected_to(inner: str) -> None:
    resolve, _ = naming(inner)
    async with trap() as heard, client_of(UrlGuard(), resolver=resolve) as client:
        with pytest.raises(UrlRefused, match=r"rebound\.example"):
            await client.send("GET", "http://rebound.example/", seconds=5, most_bytes=10)

    assert heard.connections == 0


async def test_a_name_is_asked_once_and_the_address_that_was_judged_is_connected_to() -> None:
    resolve, asked = naming("127.0.0.2", "127.0.0.1")
    guard = UrlGuard("127.0.0.2")
    async with (
        listening(OK, host="127.0.0.2") as good,
        listening(OK, host="127.0.0.1", port=good.port) as bad,
        client_of(guard, resolver=resolve) as client,
    ):
        url = f"http://rebinding.example:{good.port}/a?b=c"
        reply = await client.send("GET", url, seconds=5, most_bytes=10)

    assert (reply.status, reply.body, asked) == (200, b"ok", ["rebinding.example"])
    assert bad.connections == 0
    assert good.requests[0].startswith("GET /a?b=c HTTP/1.1\r\n")
    assert f"Host: rebinding.example:{good.port}\r\n" in good.requests[0]


async def test_a_second_request_goes_over_the_same_connection() -> None:
    async with listening(OK) as heard, client_of(UrlGuard("127.0.0.1")) as client:
        for _ in range(3):
            await client.send("GET", heard.url, seconds=5, most_bytes=10)

    assert (heard.connections, len(heard.requests)) == (1, 3)


async def test_what_comes_while_a_connection_waits_is_not_the_next_reply() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await asyncio.sleep(0.05)
        writer.write(_redirect("/elsewhere"))

    async with listening(answer) as heard, client_of(UrlGuard("127.0.0.1")) as client:
        for _ in range(2):
            reply = await client.send("GET", heard.url, seconds=5, most_bytes=10)
            assert (reply.status, reply.body) == (200, b"ok")
            await asyncio.sleep(0.2)

    assert heard.connections == 2


async def test_a_status_counts_whatever_follows_it() -> None:
    answered = b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok"
    async with listening(answered) as heard, client_of(UrlGuard("127.0.0.1")) as client:
        reply = await client.send("POST", heard.url, seconds=5, most_bytes=10, content=b"x")

    assert reply.status == 204


async def test_idle_connections_count_among_those_that_are_open() -> None:
    resolve, _ = naming("127.0.0.1")
    async with (
        listening(OK) as heard,
        client_of(UrlGuard("127.0.0.1"), resolver=resolve, connections=5) as client,
    ):
        for number in range(20):
            url = f"http://host{number}.example:{heard.port}/"
            await client.send("GET", url, seconds=5, most_bytes=10)
        await asyncio.sleep(0.1)
        assert heard.open <= 5


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    resolve, _ = naming("127.0.0.3,127.0.0.2")
    async with (
        listening(OK, host="127.0.0.2") as heard,
        client_of(UrlGuard("127.0.0.0/8"), resolver=resolve) as client,
    ):
        url = f"http://two.example:{heard.port}/"
        reply = await client.send("GET", url, seconds=5, most_bytes=10)

    assert reply.status == 200


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(OK) as proxy, listening(OK) as heard:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with client_of(UrlGuard("127.0.0.1")) as client:
            await client.send("GET", heard.url, seconds=5, most_bytes=10)

    assert (proxy.connections, heard.connections) == (0, 1)


async def test_a_cookie_of_one_reply_is_not_sent_with_the_next_request() -> None:
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    async with listening(cookie) as heard, client_of(UrlGuard("127.0.0.1")) as client:
        for _ in range(2):
            await client.send("GET", heard.url, seconds=5, most_bytes=10)

    assert not [head for head in heard.requests if "cookie" in head.lower()]


async def test_send_follows_no_redirect() -> None:
    async with listening(OK) as inner:
        moved = _redirect(inner.url)
        async with listening(moved) as heard, client_of(UrlGuard("127.0.0.1")) as client:
            reply = await client.send("POST", heard.url, seconds=5, most_bytes=10, content=b"x")

    assert (reply.status, inner.connections) == (302, 0)


async def test_a_redirect_to_an_inner_address_is_refused_at_its_hop() -> None:
    async with (
        trap() as inner,
        listening(_redirect("http://127.0.0.1/"), host="127.0.0.2") as outer,
        client_of(UrlGuard("127.0.0.2")) as client,
    ):
        with pytest.raises(UrlRefused, match="not public"):
            await client.get(outer.url, seconds=5, most_bytes=10)

    assert (outer.connections, inner.connections) == (1, 0)


@pytest.mark.parametrize("where", ["ftp://8.8.8.8/", "http://a@8.8.8.8/", "http://[::1", "//0/"])
async def test_a_redirect_to_a_hostile_url_is_refused(where: str) -> None:
    async with listening(_redirect(where)) as outer, client_of(UrlGuard("127.0.0.1")) as client:
        with pytest.raises(UrlRefused):
            await client.get(outer.url, seconds=5, most_bytes=10)


async def test_a_relative_redirect_is_followed_and_an_endless_one_is_not() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK if "GET /there" in heard.requests[-1] else _redirect("/there"))
        await writer.drain()

    async with listening(_redirect("/there")) as first, client_of(UrlGuard("127.0.0.1")) as client:
        with pytest.raises(UrlRefused, match="redirects"):
            await client.get(first.url, seconds=5, most_bytes=10)
    assert len(first.requests) == MOST_REDIRECTS + 1

    async with listening(answer) as heard, client_of(UrlGuard("127.0.0.1")) as client:
        there = await client.get(heard.url, seconds=5, most_bytes=10)
    assert there.body == b"ok"


async def test_an_endless_body_is_read_to_the_limit() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with listening(answer) as heard, client_of(UrlGuard("127.0.0.1")) as client:
        reply = await client.send("POST", heard.url, seconds=10, most_bytes=1000)

    assert (reply.status, len(reply.body), reply.rest) == (200, 1000, Rest.LARGER)


async def test_a_byte_now_and_then_ends_when_the_time_is_over() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with listening(answer) as heard, client_of(UrlGuard("127.0.0.1")) as client:
        since = time.monotonic()
        reply = await client.send("POST", heard.url, seconds=0.5, most_bytes=1000)

    assert (reply.status, reply.rest) == (200, Rest.LATE)
    assert time.monotonic() - since < 5


async def test_a_body_that_breaks_off_says_so() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        writer.close()

    async with listening(answer) as heard, client_of(UrlGuard("127.0.0.1")) as client:
        reply = await client.send("GET", heard.url, seconds=5, most_bytes=1000)

    assert (reply.body, reply.rest) == (b"half", Rest.BROKEN)


async def test_headers_of_ten_megabytes_are_not_taken_in() -> None:
    taken = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(160):
            writer.write(b"X-%d: %s\r\n" % (number, b"x" * 65536))
            await writer.drain()
            taken += 65536

    async with listening(answer) as heard, client_of(UrlGuard("127.0.0.1")) as client:
        with pytest.raises(UrlUnreachable, match="as HTTP has it"):
            await client.send("POST", heard.url, seconds=10, most_bytes=10)

    assert taken < 10_000_000


async def test_a_packed_body_is_not_unpacked() -> None:
    packed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\0\0"
    async with listening(packed) as heard, client_of(UrlGuard("127.0.0.1")) as client:
        reply = await client.send("GET", heard.url, seconds=5, most_bytes=10)

    assert (reply.body, reply.headers["content-encoding"]) == (b"\x1f\x8b\0\0", "gzip")


async def test_a_server_that_says_nothing_is_unreachable_in_time() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(answer) as heard, client_of(UrlGuard("127.0.0.1")) as client:
        with pytest.raises(UrlUnreachable, match="in time"):
            await client.send("POST", heard.url, seconds=0.3, most_bytes=10)


async def test_a_closed_port_and_an_unknown_name_are_unreachable() -> None:
    async with listening(OK) as heard:
        pass
    async with client_of(UrlGuard("127.0.0.1")) as client:
        with pytest.raises(UrlUnreachable, match="accepts no connection"):
            await client.send("GET", heard.url, seconds=5, most_bytes=10)
        with pytest.raises(UrlUnreachable, match=r"no host nowhere\.invalid|in time"):
            await client.send("GET", "http://nowhere.invalid/", seconds=5, most_bytes=10)


async def test_tls_is_checked_by_the_name_of_the_url(tmp_path: Path) -> None:
    made = certified(tmp_path, "pictures.example")
    names: list[str | None] = []
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(made.certificate, made.key)
    served.sni_callback = lambda _socket, name, _context: names.append(name)
    trusting = ssl.create_default_context(cafile=made.authority)
    resolve, _ = naming("127.0.0.1")
    async with (
        listening(OK, tls=served) as heard,
        client_of(UrlGuard("127.0.0.1"), resolver=resolve, ssl_context=trusting) as client,
    ):
        url = f"https://pictures.example:{heard.port}/"
        reply = await client.send("GET", url, seconds=5, most_bytes=10)
        other = f"https://other.example:{heard.port}/"
        with pytest.raises(UrlUnreachable, match="Hostname mismatch"):
            await client.send("GET", other, seconds=5, most_bytes=10)

    assert (reply.status, names) == (200, ["pictures.example", "other.example"])


def _redirect(where: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode()
