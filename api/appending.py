"""Many messages appended to the log at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
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


async def append_each(log: JobLog, messages: Iterable[Message]) -> list[Position | LogUnavailable]:
    """For each message where it lies, or why nothing is known of it."""

    async def append(message: Message) -> Position | LogUnavailable:
        try:
            body = wire.encode(message.body)
            return await log.append(message.topic, message.key, body, wire.HEADERS)
        except LogUnavailable as error:
            return error

    return await asyncio.gather(*(append(message) for message in messages))


async def append_all(log: JobLog, messages: Iterable[Message]) -> None:
    """Raises LogUnavailable if one of them may not be there."""
    for result in await append_each(log, messages):
        if isinstance(result, LogUnavailable):
            raise result
