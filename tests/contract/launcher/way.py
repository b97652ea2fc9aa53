"""The way to a server's unix socket, which can be shut as when the server is down."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Way:
    """Listens at `at`, and passes on what comes to `to` and back."""

    def __init__(self, to: str, at: Path) -> None:
        self._to, self._at = to, at
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._take, self._at)

    async def shut(self) -> None:
        """New connections are refused, and those there are break."""
        assert self._server is not None
        self._server.close()
        for passing in self._passing:
            passing.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)
        self._at.unlink(missing_ok=True)

    async def __aenter__(self) -> Way:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.shut()

    def _take(self, *near: *Pair) -> None:
        passing = asyncio.create_task(self._pass(near))
        self._passing.add(passing)
        passing.add_done_callback(self._passing.discard)

    async def _pass(self, near: Pair) -> None:
        far = await asyncio.open_unix_connection(self._to)
        try:
            await asyncio.gather(_copy(near[0], far[1]), _copy(far[0], near[1]))
        finally:
            for _, writer in (near, far):
                writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while some := await reader.read(65536):
        writer.write(some)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
