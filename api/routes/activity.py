"""What the server does now: queues, workers, rates and failures, in one small reply."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.dependencies import Parts, parts_of, seen_by
from api.documentation import described
from api.live.activity import Failed
from api.live.schemas import (
    Activity,
    FailureActivity,
    ModelActivity,
    Waiting,
    WorkerActivity,
)
from api.live.workers_seen import ModelSeen
from api.presenting import iso_time
from api.replies import json_reply
from api.routes import activity_examples as examples
from common.job import Priority

router = APIRouter(tags=["Models"])

Running = Mapping[str, Mapping[str, str | None]]  # worker -> job -> owner


@router.get("/v1/activity", **described(reply="Activity", example=examples.ACTIVITY))
async def get_activity(request: Request) -> Response:
    """What all models and workers do now, for a page that asks each second: nothing is read for it.

    Numbers are everyone's. Ids of predictions and causes of failures are only those that you may
    see.
    """
    parts, owner = parts_of(request), seen_by(request)
    seen = {model.name: parts.workers.model(model.name) for model in parts.catalogue}
    running = parts.activity.running(beat for each in seen.values() for beat in each.workers)
    waiting = parts.backlog.by_priority() if parts.backlog.known else None
    failed = parts.activity.failed()
    failures = Counter[str]()
    for each in failed:
        failures[each.model] += each.count
    return json_reply(
        Activity(
            at=iso_time(time.time()),
            since=iso_time(parts.activity.since),
            models=[
                _model(name, seen[name], parts, running, waiting, failures[name]) for name in seen
            ],
            workers=_workers(seen, running, owner),
            failures=_failures([each for each in failed if owner in (None, each.owner)]),
        )
    )


def _model(
    name: str,
    seen: ModelSeen,
    parts: Parts,
    running: Running,
    waiting: Mapping[str, Counter[Priority]] | None,
    failed: int,
) -> ModelActivity:
    runs = sum(len(running[beat.worker]) for beat in seen.workers)
    queue = None if waiting is None else waiting.get(name, Counter())
    work = None if queue is None else queue.total() + runs
    drain = parts.queues.drain_seconds(name, work) if work else None
    return ModelActivity(
        id=name,
        state=seen.state.value,
        reason=seen.reason,
        waiting=None
        if queue is None
        else Waiting(**{each.value: queue[each] for each in Priority}),
        running=runs,
        done_last_minute=parts.activity.done_last_minute(name),
        failed_last_hour=failed,
        seconds_per_job=_rounded(parts.queues.seconds_per_job(name)),
        drain_seconds=0.0 if work == 0 else _rounded(drain),
    )


def _workers(
    seen: Mapping[str, ModelSeen], running: Running, owner: str | None
) -> list[WorkerActivity]:
    return [
        WorkerActivity(
            id=beat.worker,
            model=model,
            state=beat.state.value,
            device=beat.device,
            host=beat.host,
            running=len(running[beat.worker]),
            predictions=[
                job
                for job, whose in running[beat.worker].items()
                if owner is None or owner == whose
            ],
            done=beat.jobs,
            heard_at=iso_time(beat.at),
        )
        for model, each in seen.items()
        for beat in each.workers
    ]


def _failures(failed: list[Failed]) -> list[FailureActivity]:
    """One for each model and cause, the latest first: the owners do not matter any more."""
    kinds: dict[tuple[str, str], FailureActivity] = {}
    for each in failed:
        kind = each.model, each.cause
        later = kinds.get(kind)
        kinds[kind] = FailureActivity(
            model=each.model,
            cause=each.cause,
            count=each.count + (later.count if later else 0),
            last_at=later.last_at if later else iso_time(each.last_at),
            last_prediction=later.last_prediction if later else each.last_job,
        )
    return list(kinds.values())


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
