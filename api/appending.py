"""Many messages appended to the log at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from common import wire
from common.errors import LogUnavailable
from common.job_log import JobLog, Position


class Message(NamedTuple):
    """What goes to which topic, under which key."""

    topic: str
    key: str
    body: msgspec.Struct
    headers: Mapping[str, str] = MappingProxyType({})  # beside those that say how to read it


async def append_each(log: JobLog, messages: Iterable[Message]) -> list[Position | LogUnavailable]:
    """For each message where it lies, or why nothing is known of it."""

    async def append(message: Message) -> Position | LogUnavailable:
        try:
            body = wire.encode(message.body)
            headers = {**wire.HEADERS, **message.headers}
            return await log.append(message.topic, message.key, body, headers)
        except LogUnavailable as error:
            return error

    return await asyncio.gather(*(append(message) for message in messages))


async def append_all(log: JobLog, messages: Iterable[Message]) -> None:
    """Raises LogUnavailable if one of them may not be there."""
    for result in await append_each(log, messages):
        if isinstance(result, LogUnavailable):
            raise result
