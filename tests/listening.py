"""A small HTTP server for tests, which remembers what it heard."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Heard:
    """What a server heard."""

    url: str = ""  # where it listens, without a slash at the end
    port: int = 0
    connections: int = 0  # that there were
    open: int = 0  # of them
    requests: list[str] = field(default_factory=list)  # their heads


@asynccontextmanager
async def listening(
    answer: bytes | Answer,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Heard]:
    """A server that gives one answer to each request, or does as `answer` says."""
    heard = Heard()
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.connections += 1
        heard.open += 1
        try:
            while True:
                heard.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
                if callable(answer):
                    await answer(reader, writer)
                else:
                    writer.write(answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            heard.open -= 1
            writer.transport.abort()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_server(begin, host, port, ssl=tls)
    heard.port = server.sockets[0].getsockname()[1]
    heard.url = f"{'https' if tls else 'http'}://{host}:{heard.port}"
    try:
        yield heard
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving)
