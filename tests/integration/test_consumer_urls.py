"""Images at URLs: what a consumer makes of a user's server, whatever that does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from common.events import JobFailed, JobSucceeded
from tests.integration.test_consumer import MOST_IMAGE_BYTES, Bench, echo, ended
from tests.listening import listening

pytestmark = pytest.mark.anyio

__all__ = ["echo"]


HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"


def http(status: int, body: bytes = b"", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


async def outcome(bench: Bench, url: str) -> JobSucceeded | JobFailed:
    bench.start()
    event = (await bench.events(await bench.submit(url=url), ended))[-1]
    assert isinstance(event, JobSucceeded | JobFailed)
    return event


async def test_an_image_at_a_url_is_fetched_and_run(
    echo: Bench, png: Callable[[int], bytes]
) -> None:
    async with listening(http(200, png(20))) as server:
        end = await outcome(echo, f"{server.url}/a.png?signature=s3cret")

    assert isinstance(end, JobSucceeded)
    assert end.output.text is not None
    assert "20x8" in end.output.text
    assert server.requests[0].startswith("GET /a.png?signature=s3cret HTTP/1.1")


async def test_a_redirect_is_followed(echo: Bench, png: Callable[[int], bytes]) -> None:
    async with (
        listening(http(200, png(20))) as behind,
        listening(http(302, b"", f"Location: {behind.url}/b")) as server,
    ):
        end = await outcome(echo, server.url)

    assert isinstance(end, JobSucceeded)


@pytest.mark.parametrize(
    "passing", [http(503), http(429), http(500, b"x"), b"", b"no http\r\n\r\n"]
)
async def test_passing_trouble_is_tried_again(
    echo: Bench, png: Callable[[int], bytes], passing: bytes
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(passing if len(server.requests) == 1 else http(200, png(20)))
        await writer.drain()
        if len(server.requests) == 1:
            writer.close()

    async with listening(answer) as server:
        end = await outcome(echo, server.url)

    assert isinstance(end, JobSucceeded)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("reply", "code", "tries"),
    [
        (http(503), "image_url_unreachable", 3),
        (HALF, "image_url_unreachable", 3),
        (http(404, b"no such picture"), "image_url_failed", 1),
        (http(403), "image_url_failed", 1),
        (http(304), "image_url_failed", 1),
        (http(204), "image_url_failed", 1),
        (http(200), "image_url_failed", 1),
        (http(200, b"\x1f\x8b", "Content-Encoding: gzip"), "image_url_failed", 1),
        (http(200, b"x" * (MOST_IMAGE_BYTES + 1)), "file_too_large", 1),
        (http(200, b"<html>", "Content-Type: image/png"), "bad_input", 1),
        (http(302, b"", "Location: http://127.0.0.9/"), "image_url_refused", 1),
        (http(302, b"", "Location: http://u:p@127.0.0.1/"), "image_url_refused", 1),
        (http(302, b"", "Location: /again"), "image_url_refused", 6),
    ],
)
async def test_trouble_that_stays_fails_the_job_with_its_code(
    echo: Bench, reply: bytes, code: str, tries: int
) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await writer.drain()
        if reply is HALF:
            writer.close()

    async with listening(answer) as server:
        end = await outcome(echo, f"{server.url}/a.png?signature=s3cret")

    assert isinstance(end, JobFailed)
    assert (end.code, len(server.requests)) == (code, tries)
    assert "s3cret" not in end.error


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.2/a.png", "image_url_refused"),  # the bench trusts 127.0.0.1 alone
        ("http://[::ffff:127.0.0.3]/", "image_url_refused"),
        ("http://user:password@127.0.0.1/", "image_url_refused"),
        ("ftp://127.0.0.1/", "image_url_refused"),
        ("http://127.0.0.1:1/", "image_url_unreachable"),
        ("http://nowhere.invalid/", "image_url_unreachable"),
    ],
)
async def test_a_url_that_leads_nowhere_fails_the_job(echo: Bench, url: str, code: str) -> None:
    end = await outcome(echo, url)

    assert isinstance(end, JobFailed)
    assert end.code == code
    assert "user:password" not in end.error


async def test_the_next_job_runs_after_one_whose_url_failed(
    echo: Bench, png: Callable[[int], bytes]
) -> None:
    await outcome(echo, "http://127.0.0.1:1/")

    event = (await echo.events(await echo.submit(png(20)), ended))[-1]

    assert isinstance(event, JobSucceeded)
