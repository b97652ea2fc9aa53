"""What one connection of the HTTP client takes from a server that wants to keep it busy.

A server may send interim answers (100 Continue) for ever, and each costs as much as a reply: one
such receiver kept a process busy that has others to serve. Or it sends replies that nobody asked
for, and they gather where the next request would find them.
"""

from __future__ import annotations

from functools import partial
from http.client import OK, SWITCHING_PROTOCOLS
from typing import Any

from aiohttp import TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import StreamReader

HEAD_BYTES = 128 * 1024  # of a reply, with interim answers before it


class LimitedConnector(TCPConnector):
    """Its connections break off when a head does not end, or a second reply comes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(_Connection, loop=self._loop)  # type: ignore[assignment]


class _Connection(ResponseHandler):
    _left = HEAD_BYTES
    _replied = True  # until something is asked

    def set_response_params(self, **parameters: Any) -> None:
        """A request goes out."""
        self._left, self._replied = HEAD_BYTES, False
        super().set_response_params(**parameters)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._replied:
            self._left -= len(data)
            if self._left < 0:
                self._break_off(f"no head within {HEAD_BYTES} bytes")

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """A head was parsed."""
        code = data[0].code
        if self._replied or code == SWITCHING_PROTOCOLS:
            self._break_off("what nobody asked for")
            return
        self._replied = code >= OK
        super().feed_data(data, size)

    def _break_off(self, reason: str) -> None:
        self.set_exception(HttpProcessingError(message=reason))
        if self.transport is not None:
            self.transport.abort()
