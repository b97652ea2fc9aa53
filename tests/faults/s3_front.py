"""An HTTP front of an object store that fails as object stores do."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from enum import Enum

from infra.server import HOST
from tests.faults.in_between import InBetween, closed

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CONNECTION = re.compile(rb"(?i)\r\nconnection:[^\r]*")
_ERROR = b"<Error><Code>InternalError</Code><Message>Try again.</Message></Error>"
_SERVER_ERROR = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/xml\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(_ERROR), _ERROR)
)


def no_fault(method: str, path: str) -> Fault | None:
    """The store is well."""
    return None


class Fault(Enum):
    """What may happen to a request."""

    SERVER_ERROR = "500"  # before the store heard of it
    CUT_BODY = "cut body"  # of a PUT half arrives, of a GET half comes back
    LOST_REPLY = "lost reply"  # the store did it, and nobody hears
    STALL = "stall"  # no answer, and no end


class S3Front(InBetween):
    """Passes requests on to a store, unless `fault` says what happens to this one.

    It hears the method and the path. Host and path reach the store as they are, or it would not
    take the signature.
    """

    def __init__(self, target: int, *, port: int = 0) -> None:
        super().__init__(port)
        self.target = target
        self.fault: Callable[[str, str], Fault | None] = no_fault
        self.done: Counter[tuple[str, Fault]] = Counter()  # faults, by method

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request; the connection ends with it."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, _ = head.decode("latin-1").split(" ", 2)
        length = _LENGTH.search(head)
        body = await reader.readexactly(int(length[1])) if length else b""
        fault = self.fault(method, path)
        if fault is not None:
            self.done[method, fault] += 1
        if fault is Fault.STALL:
            await asyncio.Event().wait()
        elif fault is Fault.SERVER_ERROR:
            reply = _SERVER_ERROR
        else:
            reply = await self._asked(head, body, fault)
        writer.write(reply)
        await writer.drain()

    async def _asked(self, head: bytes, body: bytes, fault: Fault | None) -> bytes:
        """What the client gets of the store's reply."""
        there, back = await asyncio.open_connection(HOST, self.target)
        half = fault is Fault.CUT_BODY
        try:
            back.write(_CONNECTION.sub(b"", head)[:-2] + b"Connection: close\r\n\r\n")
            if half and body:
                back.write(body[: len(body) // 2])
                await back.drain()
                return b""
            back.write(body)
            reply = await there.read()
        finally:
            await closed(back)
        if fault is Fault.LOST_REPLY:
            return b""
        end = reply.index(b"\r\n\r\n") + 4
        return reply[: end + (len(reply) - end) // 2] if half else reply
