"""A server's events, read for as long as it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import httpx2

from cli.client import PATIENCE_S, Client
from cli.errors import ServerUnavailable

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 2.0


async def follow(
    client: Client, path: str, *, patience: float = PATIENCE_S
) -> AsyncIterator[httpx2.ServerSentEvent]:
    """Every event; after an interruption from the one that came last on.

    Ends when the server says that there is no more. Raises ServerUnavailable when it is gone for
    longer than `patience` seconds, NotAllowed, and ItemFailed for what it refuses.
    """
    last = ""
    heard_at, pause = time.monotonic(), FIRST_PAUSE_S
    while True:
        error = "it ended the stream"
        try:
            async with client.open_stream(path, last) as reply:
                if reply.status_code == httpx2.codes.NO_CONTENT:
                    return
                if reply.is_success:
                    async for event in httpx2.EventSource(reply):
                        last = event.id or last
                        heard_at, pause = time.monotonic(), FIRST_PAUSE_S
                        if event.data:
                            yield event
                elif reply.status_code < httpx2.codes.INTERNAL_SERVER_ERROR:
                    await reply.aread()
                    raise client.refusal(reply)
                else:
                    error = f"HTTP {reply.status_code}"
        except httpx2.TransportError as broken:
            error = str(broken) or type(broken).__name__
        if time.monotonic() - heard_at > patience:
            raise ServerUnavailable(
                f"the server does not answer ({error}): start it with `make run`, or give its "
                "address with --url"
            )
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_S)
