"""How much of a reply may come before its head is whole.

A server may send interim answers (100 Continue) for ever, and each costs as much as a reply: one
such receiver kept a process busy that has others to serve.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import httpcore2

HEAD_BYTES = 128 * 1024  # the parser takes a head of up to 100 KiB
_TOGETHER_BYTES = 64 * 1024


class HeadLimit:
    """Of one request: let it be the current one until the head is whole, and `lift` it then."""

    def __init__(self) -> None:
        self._left: int | None = HEAD_BYTES

    def lift(self) -> None:
        """The head is whole."""
        self._left = None

    def take(self, count: int) -> None:
        """So many bytes came. Raises RemoteProtocolError where no head can have so many."""
        if self._left is None:
            return
        self._left -= count
        if self._left < 0:
            raise httpcore2.RemoteProtocolError(f"no head within {HEAD_BYTES} bytes")


current: ContextVar[HeadLimit] = ContextVar("current")


class LimitedStream(httpcore2.AsyncNetworkStream):
    """A connection that tells the current limit what came.

    A request's head and its short body are written when the reply is read for: in one go.
    """

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self._unsent = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with suppress(httpcore2.WriteError):  # it may have been answered all the same
            await self._send(timeout)
        content = await self._stream.read(max_bytes, timeout)
        current.get().take(len(content))
        return content

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._unsent += buffer
        if len(self._unsent) > _TOGETHER_BYTES:
            await self._send(timeout)

    async def _send(self, timeout: float | None) -> None:
        unsent, self._unsent = self._unsent, b""
        await self._stream.write(unsent, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        return LimitedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
