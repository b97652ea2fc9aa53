"""Predictions: the job resource. Here a job's journey begins."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.access.authentication import admit_job
from api.creating import accept_request, create_reply
from api.database import jobs
from api.dependencies import Parts, base_of, parts_of, seen_by
from api.documentation import LEDGER, described, reference
from api.pages import PAGE, Moment, cursor_of, page_url, seconds_of
from api.presenting import present
from api.problems import Problem
from api.repeating import KEY_HEADER, key_of
from api.replies import json_reply
from api.routes import examples
from api.schemas import PredictionPage
from api.submit import new_id
from common.job import Job, JobState

router = APIRouter(tags=["Predictions"])

CREATE_ERRORS = (
    "queue_full",
    "invalid_json",
    "invalid_form",
    "unknown_model",
    "unknown_file",
    "removed",
    "body_too_large",
    "file_too_large",
    "unsupported_media_type",
    "not_an_image",
    "invalid_request",
    "invalid_parameter",
    "invalid_text",
    "unknown_priority",
    "invalid_start_by",
    "start_by_passed",
    "invalid_cancel_after",
    "unknown_input",
    "missing_image",
    "empty_file",
    "truncated_image",
    "image_too_large",
    "invalid_image",
    "data_uri_too_large",
    "url_refused",
    "metadata_too_large",
    "invalid_webhook",
    "unknown_event",
    "store_unavailable",
    "ledger_unavailable",
    "uploads_busy",
)
KEY_ERRORS = ("invalid_idempotency_key", "idempotency_key_reused")
_FORM_PROPERTIES = {
    "image": {"type": "string", "format": "binary", "description": "The picture, as a file."},
    "model": {
        "type": "string",
        "description": "One of GET /v1/models.",
        "example": "darkroom/shapes",
    },
    "prompt": {"type": "string", "description": "As any other parameter of the model."},
    "priority": {"type": "string", "enum": ["high", "normal", "low"]},
    "start_by": {
        "type": "string",
        "description": "Canceled if unstarted then: seconds from now, or an ISO 8601 time.",
    },
    "labels": {"type": "string", "description": "Words between commas, or a JSON list."},
    "metadata": {"type": "string", "description": "A JSON object of at most 16 kB."},
    "webhook": {"type": "string", "description": "A URL that is told how the job goes on."},
    "webhook_events_filter": {
        "type": "string",
        "description": "start, output, logs, completed: words between commas, or a JSON list.",
    },
    "reuse": {
        "type": "string",
        "enum": ["true", "false"],
        "description": "Whether an earlier result of yours will do, where it would be the same.",
    },
    "input": {"type": "string", "description": "Parameters as a JSON object."},
}
_BODY = {
    "multipart/form-data": {"schema": {"type": "object", "properties": _FORM_PROPERTIES}},
    "application/json": {
        "schema": reference("PredictionRequest"),
        "examples": {
            "an image in the request": {"value": examples.PREDICTION_REQUEST},
            "an uploaded file": {"value": examples.PREDICTION_OF_FILE_REQUEST},
            "an image at a URL": {"value": examples.PREDICTION_OF_URL_REQUEST},
        },
    },
}
HEADERS = {
    "Prefer": ("Wait so many seconds, from 1 to 60, for the result.", "wait=30"),
    "Cancel-After": ("Cancel it if it has not ended by then; at least 5s.", "1m30s"),
    "traceparent": (
        "The trace (W3C Trace Context) that its work and its webhooks go on with.",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
}
ENDED_IN_TIME: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "It ended within the time that `Prefer: wait` gave",
        "content": {
            "application/json": {
                "schema": reference("Prediction"),
                "example": examples.PREDICTION,
            }
        },
    }
}
CREATED = {
    "status": 202,
    "reply": "Prediction",
    "example": examples.STARTING,
    "description": "Accepted: it will end, whatever happens here",
    "body": _BODY,
    "headers": {**HEADERS, **KEY_HEADER},
    "more": ENDED_IN_TIME,
}


@router.post(
    "/v1/predictions",
    **described(*CREATE_ERRORS, *KEY_ERRORS, "missing_model", "ambiguous_version", **CREATED),
)
async def create_prediction(request: Request) -> Response:
    """Run a model on an image. `Prefer: wait=30` answers with the result if it is there in time."""
    return await _create(request, None)


@router.post(
    "/v1/models/{owner}/{name}/predictions",
    **described(*CREATE_ERRORS, *KEY_ERRORS, **CREATED),
)
async def create_model_prediction(request: Request, owner: str, name: str) -> Response:
    """The same, with the model in the path."""
    return await _create(request, f"{owner}/{name}")


@router.get(
    "/v1/predictions/{prediction_id}",
    **described("unknown_prediction", *LEDGER, reply="Prediction", example=examples.PREDICTION),
)
async def get_prediction(request: Request, prediction_id: str) -> Response:
    """One prediction, as it is now."""
    parts = parts_of(request)
    job = await parts.job(seen_by(request), prediction_id)
    await parts.queues.look([job])
    return _reply(request, parts, job, 200)


@router.get(
    "/v1/predictions",
    **described("invalid_request", *LEDGER, reply="PredictionPage", example=examples.PREDICTIONS),
)
async def list_predictions(
    request: Request,
    status: JobState | None = None,
    model: Annotated[str | None, Query(max_length=200)] = None,
    label: Annotated[str | None, Query(max_length=100)] = None,
    created_after: Moment | None = None,
    created_before: Moment | None = None,
    cursor: Annotated[str | None, Query(description="From `next` or `previous`.")] = None,
) -> Response:
    """Predictions, newest first, 100 a page."""
    parts = parts_of(request)
    if "\0" in (model or "") + (label or ""):
        raise Problem("invalid_request", "A filter holds a NUL character: remove it.")
    wanted = jobs.JobFilter(
        status=status,
        model=model,
        label=label,
        created_after=seconds_of(created_after),
        created_before=seconds_of(created_before),
    )
    async with parts.database.read() as connection:
        page = await jobs.page(
            connection,
            owner=seen_by(request),
            filter=wanted,
            cursor=cursor_of(cursor),
            limit=PAGE,
        )
    await parts.queues.look(page.items)
    base = base_of(request)
    body = PredictionPage(
        next=page_url(request, base, page.next),
        previous=page_url(request, base, page.previous),
        results=[present(job, base, parts.queues) for job in page.items],
    )
    return json_reply(body)


@router.post(
    "/v1/predictions/{prediction_id}/cancel",
    **described("unknown_prediction", *LEDGER, reply="Prediction", example=examples.CANCELED),
)
async def cancel_prediction(request: Request, prediction_id: str) -> Response:
    """Cancel it, running or not. One that has ended stays as it is."""
    parts = parts_of(request)
    job = await parts.job(seen_by(request), prediction_id)
    canceled = await parts.canceler.cancel(
        job.id, code="canceled", error="The prediction was canceled."
    )
    return _reply(request, parts, canceled or job, 200)


@router.delete(
    "/v1/predictions/{prediction_id}",
    **described(
        "unknown_prediction", "not_ended", *LEDGER, status=204, media_type="", description="Gone"
    ),
)
async def delete_prediction(request: Request, prediction_id: str) -> Response:
    """Remove its input and its result now. The prediction itself stays, without them."""
    parts = parts_of(request)
    job = await parts.job(seen_by(request), prediction_id)
    if not job.state.terminal:
        raise Problem("not_ended", "The prediction has not ended: cancel it first, then delete it.")
    await parts.remover.remove([job.id])
    return Response(status_code=204)


async def _create(request: Request, model: str | None) -> Response:
    admit_job(request)
    parts, job_id = parts_of(request), new_id()
    accept = partial(
        accept_request,
        request,
        parts,
        job_id,
        model=model,
        route="POST /v1/predictions" if model is None else "POST /v1/models/predictions",
        key=key_of(request),
    )
    return await create_reply(request, parts, job_id, accept)


def _reply(request: Request, parts: Parts, job: Job, status: int) -> Response:
    return json_reply(present(job, base_of(request), parts.queues), status)
