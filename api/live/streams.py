"""Server-sent events: of one job, of all of one's jobs, and as Replicate's client reads them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable

import msgspec
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.types import Message, Send

from api.database import changes, jobs
from api.dependencies import Parts
from api.live.job_events import Stand, happened, stand_of
from api.live.watching import Change
from api.presenting import output_of, present
from common.job import Job, JobState

KEEP_ALIVE_SECONDS = 15.0
PLACE_SECONDS = 1.0  # after which a job's row has its place in the log
SEND_SECONDS = 60.0  # a client that takes nothing for so long is gone
LATE_SECONDS = 60.0  # by which an update may come after what it tells of
REACH_SECONDS = 3600.0  # how far back the ledger is asked
_RETRY_MILLISECONDS = 1000
_READ_TOGETHER = 200  # rows
# Readers of lines that follow Unicode break them here, too; in JSON they can be escaped.
_BREAKS = {"\u2028": b"\\u2028", "\u2029": b"\\u2029", "\x85": b"\\u0085"}


class EventStream(EventSourceResponse):
    """A stream that gives up a client which takes nothing any more."""

    def __init__(self, frames: AsyncIterator[bytes]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(frames, headers=headers)

    async def stream_response(self, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        try:
            await super().stream_response(send_in_time)
        except TimeoutError:
            return


async def of_job(parts: Parts, job: Job, base: str, before: Stand | None) -> AsyncGenerator[bytes]:
    """From `job` as it is now, unless it was told before, until it has ended."""
    course = _Course(parts, base, before)
    with parts.watching.job(job.id) as watch:
        parts.watching.read_again(job.id)  # it may have changed since it was read
        yield format_sse_event(retry=_RETRY_MILLISECONDS)
        yield course.frames(job)
        seconds = PLACE_SECONDS if course.has_no_place(job) else KEEP_ALIVE_SECONDS
        while not (course.ended or parts.watching.leaving):
            pending = await watch.next(seconds)
            seconds = KEEP_ALIVE_SECONDS
            if not pending and not parts.watching.leaving:
                parts.watching.read_again(job.id)
                await parts.queues.look([job])
                yield KEEPALIVE_COMMENT
            for change in pending:
                if frames := course.frames(change.job, change):
                    yield frames


class _Course:
    """What a stream of one job has told."""

    def __init__(self, parts: Parts, base: str, before: Stand | None) -> None:
        self._parts, self._base, self._before = parts, base, before
        self._position: int | None = None
        self.ended = False

    def frames(self, job: Job, change: Change | None = None) -> bytes:
        """What there is to tell of `job`; ids are sequences, the last event's that of the row."""
        names = happened(self._before, job)
        if not names and not self._moved(job):
            return b""
        self._before = stand_of(job)
        self._position = self._parts.queues.queue_of(job).position
        self.ended = job.state.terminal
        body = _body(self._parts, change or Change(job, ""), self._base)
        ids = [job.sequence - 1] * (len(names) - 1) + [job.sequence]
        return b"".join(
            format_sse_event(data_str=body, event=name, id=str(max(id, 0)))
            for name, id in zip(names or ("progress",), ids, strict=True)
        )

    def has_no_place(self, job: Job) -> bool:
        """Whether it waits, and nobody knows where yet."""
        return job.state is JobState.STARTING and self._position is None

    def _moved(self, job: Job) -> bool:
        """Whether it waits elsewhere in its queue."""
        return (
            job.state is JobState.STARTING
            and self._before is not None
            and job.sequence == self._before.sequence
            and self._parts.queues.queue_of(job).position != self._position
        )


async def of_owner(
    parts: Parts, owner: str | None, base: str, last: str | None
) -> AsyncGenerator[bytes]:
    """What happens to all of one's jobs from now on, or from the event `last` on.

    Without an owner it is everyone's. A slow client gets from the ledger what it missed.
    """
    told = last or f"{int(1000 * time.time())}-0"
    with parts.watching.owner(owner) as watch:
        yield format_sse_event(retry=_RETRY_MILLISECONDS)
        watch.missed = last is not None
        while not parts.watching.leaving:
            if watch.missed:
                watch.missed = False
                async for change in _since(parts, owner, told):
                    yield _frames(parts, change, base)
                    told = change.id or told
            pending = await watch.next(KEEP_ALIVE_SECONDS)
            if not pending and not watch.missed:
                yield KEEPALIVE_COMMENT
            for change in pending:
                if change.names:
                    yield _frames(parts, change, base)
                told = change.id or told


def _frames(parts: Parts, change: Change, base: str) -> bytes:
    """Only the last of a change's events has its id: who has not got it gets all of them again."""
    body = _body(parts, change, base)
    *first, last = change.names
    return b"".join(format_sse_event(data_str=body, event=name) for name in first) + (
        format_sse_event(data_str=body, event=last, id=change.id or None)
    )


async def _since(parts: Parts, owner: str | None, id: str) -> AsyncIterator[Change]:
    """What the owner's jobs came to after `id`: by what is remembered here, or by the ledger."""
    remembered = parts.watching.since(id)
    if remembered is None:
        at = max(int(id.partition("-")[0]) / 1000 - LATE_SECONDS, time.time() - REACH_SECONDS)
        async for batch in changes.since(parts.database, owner, at):
            for job in batch:
                ended = f"{int(1000 * job.completed_at)}-0" if job.completed_at else ""
                yield Change(job, ended, happened(None, job))
        return
    ids: dict[str, str] = {}
    for told in remembered:
        if owner in (None, told.owner):
            ids.pop(told.job, None)
            ids[told.job] = told.id
    for some in _batches(list(ids)):
        async with parts.database.read() as connection:
            found = await jobs.get_each(connection, some)
        for job_id in some:
            if job_id in found:
                yield Change(found[job_id], ids[job_id], happened(None, found[job_id]))


async def for_replicate(parts: Parts, job: Job, base: str, told: int) -> AsyncGenerator[bytes]:
    """Logs, output, an error and `done`, once the job has ended; without the first `told`."""
    yield format_sse_event(retry=_RETRY_MILLISECONDS)
    with parts.watching.job(job.id, ends_only=True) as watch:
        parts.watching.read_again(job.id)
        while not job.state.terminal and not parts.watching.leaving:
            pending = await watch.next(KEEP_ALIVE_SECONDS)
            if not pending:
                parts.watching.read_again(job.id)
                yield KEEPALIVE_COMMENT
            for change in pending:
                job = change.job
    if job.state.terminal:
        for number, (name, text) in enumerate(_at_the_end(job, base), start=1):
            if number > told:
                data = "\n".join(text.splitlines()) if text else ""
                yield format_sse_event(data_str=data, event=name, id=f"{job.sequence}-{number}")


def _at_the_end(job: Job, base: str) -> Iterable[tuple[str, str]]:
    if job.logs:
        yield "logs", job.logs
    output = output_of(job, base)
    if isinstance(output, dict):
        yield "output", str(output["text"])
        output = output["files"]  # type: ignore[assignment]
    for text in [output] if isinstance(output, str) else output or []:
        yield "output", str(text)
    if job.state is JobState.FAILED:
        yield "error", job.error or ""
    reasons = {JobState.FAILED: '{"reason": "error"}', JobState.CANCELED: '{"reason": "canceled"}'}
    yield "done", reasons.get(job.state, "{}")


def _body(parts: Parts, change: Change, base: str) -> str:
    """The prediction as one line of JSON, made once for all who see it under the same address."""
    body = change.bodies.get(base)
    if body is None:
        body = msgspec.json.encode(present(change.job, base, parts.queues))
        for character, escape in _BREAKS.items():
            body = body.replace(character.encode(), escape)
        change.bodies[base] = body
    return body.decode()


def _batches(ids: list[str]) -> Iterable[list[str]]:
    for start in range(0, len(ids), _READ_TOGETHER):
        yield ids[start : start + _READ_TOGETHER]
