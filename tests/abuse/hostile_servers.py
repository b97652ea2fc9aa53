"""HTTP servers that do what no server should, for webhooks and for images alike.

They run in a process of their own, `python -m tests.abuse.hostile_servers`, which prints their URLs
and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager

from tests.listening import listening

Answer = Callable[[Reader, Writer], Awaitable[None]]

_CHUNK = b"x" * 65536
_PACKED = gzip.compress(bytes(20_000_000))
_OK = b"HTTP/1.1 200 OK\r\n"


async def _sent(writer: Writer, content: bytes) -> None:
    writer.write(content)
    await writer.drain()
    await asyncio.sleep(0.002)  # the other servers of this process want to be hostile too


async def never_answers(reader: Reader, writer: Writer) -> None:
    while await reader.read(65536):
        pass


async def never_reads(reader: Reader, writer: Writer) -> None:
    await asyncio.Event().wait()


async def a_byte_a_second_of_its_head(reader: Reader, writer: Writer) -> None:
    for byte in _OK * 1000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


async def a_byte_a_second_of_its_body(reader: Reader, writer: Writer) -> None:
    writer.write(_OK + b"Content-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(1)


async def an_endless_body(reader: Reader, writer: Writer) -> None:
    writer.write(_OK + b"\r\n")
    while True:
        await _sent(writer, _CHUNK)


async def endless_chunks(reader: Reader, writer: Writer) -> None:
    writer.write(_OK + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        await _sent(writer, b"1\r\nx\r\n" * 10_000)


async def a_chunk_of_terabytes(reader: Reader, writer: Writer) -> None:
    writer.write(_OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffffff\r\n")
    while True:
        await _sent(writer, _CHUNK)


async def one_header_of_ten_megabytes(reader: Reader, writer: Writer) -> None:
    writer.write(_OK + b"X: ")
    for _ in range(160):
        writer.write(_CHUNK)
        await writer.drain()
    writer.write(b"\r\n\r\n")


async def headers_without_end(reader: Reader, writer: Writer) -> None:
    writer.write(_OK)
    while True:
        await _sent(writer, b"X-Header: value\r\n" * 1000)


async def interim_answers_without_end(reader: Reader, writer: Writer) -> None:
    while True:
        await _sent(writer, b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


async def a_switch_of_protocols(reader: Reader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    await never_answers(reader, writer)


async def a_redirect_to_itself(reader: Reader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 307 Moved\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


async def no_http(reader: Reader, writer: Writer) -> None:
    writer.write(b"220 mail.example ESMTP\r\n" + bytes(range(256)) * 100)
    writer.close()


async def a_status_that_is_none(reader: Reader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 99999999999999999999 OK\r\n\r\n")
    writer.close()


async def closes_at_once(reader: Reader, writer: Writer) -> None:
    writer.transport.abort()


async def less_than_it_said(reader: Reader, writer: Writer) -> None:
    writer.write(_OK + b"Content-Length: 1000\r\n\r\nhalf")
    writer.close()


async def two_lengths(reader: Reader, writer: Writer) -> None:
    writer.write(_OK + b"Content-Length: 1\r\nContent-Length: 9\r\n\r\nxxxxxxxxx")
    writer.close()


async def a_bomb(reader: Reader, writer: Writer) -> None:
    head = f"Content-Encoding: gzip\r\nContent-Length: {len(_PACKED)}\r\n\r\n"
    writer.write(_OK + head.encode() + _PACKED)
    await writer.drain()


# What each does to one who asks: it keeps him until his time is over, or gives him an answer, or
# breaks off.
HELD = (
    never_answers,
    never_reads,
    a_byte_a_second_of_its_head,
)
ANSWERED = (
    a_byte_a_second_of_its_body,
    an_endless_body,
    endless_chunks,
    a_chunk_of_terabytes,
    less_than_it_said,
    a_redirect_to_itself,
    a_bomb,
)
BROKEN = (
    one_header_of_ten_megabytes,
    headers_without_end,
    no_http,
    a_status_that_is_none,
    closes_at_once,
    two_lengths,
    interim_answers_without_end,
    a_switch_of_protocols,
)
ALL: tuple[Answer, ...] = (*HELD, *ANSWERED, *BROKEN)


@contextmanager
def serving() -> Iterator[dict[str, str]]:
    """Each on an address of its own, as other hosts are: its name by its URL."""
    words = [sys.executable, "-m", "tests.abuse.hostile_servers"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            urls: dict[str, str] = json.loads(process.stdout.readline())
            yield urls
        finally:
            process.kill()


async def _serve() -> None:
    async with AsyncExitStack() as stack:
        urls = {}
        for number, answer in enumerate(ALL, start=10):
            heard = await stack.enter_async_context(listening(answer, host=f"127.0.0.{number}"))
            urls[f"{heard.url}/"] = answer.__name__
        print(json.dumps(urls), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
