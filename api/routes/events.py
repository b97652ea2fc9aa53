"""Server-sent events: what happens to jobs, as it happens."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Header
from starlette.requests import Request
from starlette.responses import Response

from api.access.authentication import while_it_works
from api.dependencies import base_of, parts_of, seen_by
from api.documentation import LEDGER, described
from api.live.job_events import Stand
from api.live.streams import EventStream, for_replicate, of_job, of_owner
from api.problems import Problem
from api.routes import examples

router = APIRouter(tags=["Events"])

_NOTHING_MORE: dict[int | str, dict[str, Any]] = {
    204: {"description": "It has ended, and all of it was told: do not come back"}
}
LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description="The `id` of the last event that was received."),
]


@router.get(
    "/v1/predictions/{prediction_id}/events",
    **described(
        "unknown_prediction",
        "invalid_event_id",
        *LEDGER,
        media_type="text/event-stream",
        example=examples.EVENTS,
        description="Events, as they happen",
        more=_NOTHING_MORE,
    ),
)
async def stream_prediction(
    request: Request, prediction_id: str, last_event_id: LastEventId = None
) -> Response:
    """One prediction's events: start, progress, output, completed. Each holds the prediction.

    Begins with the prediction as it is (one that waits is told as `progress`, and again when its
    place in the queue changes), and ends after `completed`. Ids are its sequence: come back with
    `Last-Event-ID` and only what was not told follows.
    """
    before = None
    if last_event_id is not None:
        before = Stand(int(_event_id(r"\d{1,9}", last_event_id)[0]), None)
    parts = parts_of(request)
    job = await parts.job(seen_by(request), prediction_id)
    if job.state.terminal and before is not None and before.sequence >= job.sequence:
        return Response(status_code=204)
    await parts.queues.look([job])
    return EventStream(while_it_works(request, of_job(parts, job, base_of(request), before)))


@router.get(
    "/v1/events",
    **described(
        "invalid_event_id",
        *LEDGER,
        media_type="text/event-stream",
        example=examples.EVENTS,
        description="Events, as they happen",
    ),
)
async def stream_events(request: Request, last_event_id: LastEventId = None) -> Response:
    """The events of all your predictions, from now on (of everyone's with an admin's key).

    Ids are MILLISECONDS-NUMBER. Come back with `Last-Event-ID`, to any API process, and what
    happened since follows, an hour back at most; after a restart of the API some of it may come
    twice.
    """
    if last_event_id is not None:
        _event_id(r"\d{1,15}-\d{1,18}", last_event_id)
    parts = parts_of(request)
    frames = of_owner(parts, seen_by(request), base_of(request), last_event_id)
    return EventStream(while_it_works(request, frames))


@router.get(
    "/v1/predictions/{prediction_id}/stream",
    **described(
        "unknown_prediction",
        "invalid_event_id",
        *LEDGER,
        media_type="text/event-stream",
        example=examples.STREAM,
        description="Events, as they happen",
    ),
)
async def stream_output(
    request: Request, prediction_id: str, last_event_id: LastEventId = None
) -> Response:
    """What comes of one prediction, for Replicate's client: output, logs, error, done."""
    told = 0
    if last_event_id is not None:
        told = int(_event_id(r"\d{1,9}-(\d{1,9})", last_event_id)[1])
    parts = parts_of(request)
    job = await parts.job(seen_by(request), prediction_id)
    return EventStream(while_it_works(request, for_replicate(parts, job, base_of(request), told)))


def _event_id(form: str, word: str) -> re.Match[str]:
    found = re.fullmatch(form, word, re.ASCII)
    if found is None:
        raise Problem(
            "invalid_event_id",
            f"Last-Event-ID: {word[:80]!r} is no id of this stream: send the last event's `id`, "
            "or leave it out.",
        )
    return found
