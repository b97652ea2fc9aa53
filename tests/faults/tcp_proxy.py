"""A TCP proxy that can be cut: what is under way then waits, and nobody is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from infra.server import HOST
from tests.faults.in_between import InBetween, closed

_CHUNK = 64 * 1024
Matches = Callable[[bytes], bool]


class TcpProxy(InBetween):
    """Passes connections on from its port to another.

    While it is cut it behaves as a network that loses every packet: connections stay open, new
    ones are made and get no answer. Once it is healed, what was sent meanwhile arrives, as TCP
    would send it again.
    """

    def __init__(self, port: int, target: int) -> None:
        super().__init__(port)
        self.target = target
        self.froze = 0  # connections
        self._open = asyncio.Event()
        self._open.set()
        self._freezing: Matches | None = None

    def cut(self) -> None:
        """From now on nothing gets through."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def heal(self) -> None:
        """Everything gets through again."""
        self._loop.call_soon_threadsafe(self._open.set)

    def freeze(self, matches: Matches | None) -> None:
        """A connection on which a client sends what matches gets no answer ever again."""
        self._freezing = matches

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        far_reader, far_writer = await asyncio.open_connection(HOST, self.target)
        frozen = asyncio.Event()
        ways = [
            asyncio.create_task(self._pass(reader, far_writer, frozen, asked=True)),
            asyncio.create_task(self._pass(far_reader, writer, frozen)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await closed(far_writer)

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        frozen: asyncio.Event,
        *,
        asked: bool = False,
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                await self._open.wait()
                if asked and self._freezing is not None and self._freezing(chunk):
                    self.froze += not frozen.is_set()
                    frozen.set()
                if not frozen.is_set():
                    writer.write(chunk)
                    await writer.drain()
        await self._open.wait()  # the end of a connection does not get through either
