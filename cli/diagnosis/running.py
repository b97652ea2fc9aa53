"""Darkroom's own processes: the API by its answer, the others by what they leave undone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection

import httpx2

from api.recorder import GROUP as RECORDER
from cli.diagnosis.finding import Finding, fail, note, ok
from common import wire
from common.catalogue import Catalogue
from common.errors import LogUnavailable, WireInvalid
from common.events import SILENT_SECONDS, WorkerHeartbeat, WorkerState
from common.job_log import JobLog, open_job_log
from common.job_log.condition import condition_of
from common.settings import Settings
from common.topic import EVENTS, WORKERS, consumer_group, job_topics

PATIENCE_SECONDS = 5.0  # for work that waits to be taken up
_POLL_SECONDS = 0.25
_TIMEOUT_SECONDS = 5.0


async def api(settings: Settings) -> AsyncIterator[Finding]:
    """Whether it listens, and is ready."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{settings.port}"
    async with httpx2.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
        try:
            reply = await client.get(f"{url}/readyz")
        except httpx2.HTTPError:
            yield note("api", f"nothing answers at {url}", "start it with `darkroom up`")
            return
    if reply.is_success:
        yield ok("api", f"ready at {url}")
    else:
        says = f"{url} answers {reply.status_code} to /readyz"
        yield fail("api", says, "what fails beside this line is why; else see its log")


async def workers(
    settings: Settings, catalogue: Catalogue | None, *, patience: float = PATIENCE_SECONDS
) -> AsyncIterator[Finding]:
    """Whether events are recorded, and jobs taken up. Where nothing waits, nothing can be said."""
    models = [model.name for model in catalogue or ()]
    topics = [EVENTS, WORKERS, *(topic for model in models for topic in job_topics(model))]
    try:
        there = (await condition_of(settings.log_url, topics)).topics
        if EVENTS not in there:
            yield note("recorder", "no event has come yet: nothing to see")
            return
        log = await open_job_log(settings.log_url, partitions=settings.partitions)
    except LogUnavailable as error:
        yield note("recorder", f"cannot be seen while the job log does not answer ({error})")
        return
    try:
        yield await _recorder(log, patience)
        for model in models:
            known = [topic for topic in job_topics(model) if topic in there]
            if known and (found := await _taken_up(log, model, known, patience)):
                yield found
    finally:
        await log.close()


async def _recorder(log: JobLog, patience: float) -> Finding:
    behind = await _stands_still(log, [EVENTS], RECORDER, patience)
    if behind is None:
        return ok("recorder", "no event waits, or they are being recorded")
    return fail(
        "recorder",
        f"{behind} events wait, and none was recorded in {patience:.0f} s",
        "start it: `python -m api record`, or `darkroom up`; its log says why it stopped",
    )


async def _taken_up(
    log: JobLog, model: str, topics: Collection[str], patience: float
) -> Finding | None:
    """None where no job waits."""
    part = f"worker {model}"
    waiting = await _stands_still(log, topics, consumer_group(model), patience)
    if waiting is None:
        return None
    beats = [beat for beat in await _heartbeats(log) if beat.model == model]
    alive = [beat for beat in beats if beat.at > time.time() - SILENT_SECONDS]
    for state, says in ((WorkerState.READY, "works on one"), (WorkerState.LOADING, "is loading")):
        if any(beat.state is state for beat in alive):
            return ok(part, f"{waiting} jobs wait, and a worker {says}")
    if failed := [beat for beat in alive if beat.state is WorkerState.FAILED]:
        return fail(part, failed[-1].reason, f"{waiting} jobs wait for it: mend that reason")
    return fail(
        part,
        f"{waiting} jobs wait, and no worker was heard of in {SILENT_SECONDS:.0f} s",
        "start the scaler: `python -m scaler`, or `darkroom up`; its log says why it starts none",
    )


async def _stands_still(
    log: JobLog, topics: Collection[str], group: str, patience: float
) -> int | None:
    """How many messages wait; None if there are none, or one was finished within `patience`."""
    first = await log.bounds(dict.fromkeys(topics, group))
    deadline = time.monotonic() + patience
    while True:
        now = await log.bounds(dict.fromkeys(topics, group))
        lag = sum(bounds.lag for bounds in now.values())
        if not lag or any(now[place].committed != first[place].committed for place in first):
            return None
        if time.monotonic() > deadline:
            return lag
        await asyncio.sleep(_POLL_SECONDS)


async def _heartbeats(log: JobLog) -> list[WorkerHeartbeat]:
    """The latest of each worker that is kept."""
    ends = await log.bounds({WORKERS: None})
    left = sum(bounds.lag for bounds in ends.values())
    latest: dict[str, WorkerHeartbeat] = {}
    if not left:
        return []
    subscription = await log.subscribe({WORKERS: 1}, group=None)
    try:
        while left > 0 and (deliveries := await subscription.receive(1000, _TIMEOUT_SECONDS)):
            left -= len(deliveries)
            for delivery in deliveries:
                try:
                    beat = wire.decode_heartbeat(delivery.value, delivery.headers)
                except WireInvalid:
                    continue
                latest[beat.worker] = beat
    finally:
        await subscription.close()
    return list(latest.values())
