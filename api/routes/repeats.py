"""Predictions asked for again: by an id of the client's own, or as a retry of one that ended."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.access.authentication import admit_job
from api.creating import accept_request, create_reply
from api.dependencies import owner_of, parts_of, seen_by
from api.documentation import LEDGER, described
from api.repeating import KEY_HEADER, PUT, checked_id, key_of, own_key
from api.retrying import retry
from api.routes import examples
from api.routes.predictions import CREATE_ERRORS, CREATED, ENDED_IN_TIME, HEADERS, KEY_ERRORS
from api.submit import new_id

router = APIRouter(tags=["Predictions"])


@router.put(
    "/v1/predictions/{prediction_id}",
    **described(
        *CREATE_ERRORS,
        "missing_model",
        "ambiguous_version",
        "unknown_prediction",
        "invalid_prediction_id",
        "prediction_id_reused",
        **{**CREATED, "headers": HEADERS},
    ),
)
async def put_prediction(request: Request, prediction_id: str) -> Response:
    """The same with an id that you choose, a UUID: sent twice, it makes one prediction."""
    admit_job(request)
    job_id = checked_id(prediction_id)
    parts = parts_of(request)
    accept = partial(accept_request, request, parts, job_id, route=PUT, key=None, chosen_id=True)
    return await create_reply(request, parts, job_id, accept)


@router.post(
    "/v1/predictions/{prediction_id}/retry",
    **described(
        "queue_full",
        "unknown_prediction",
        "unknown_model",
        "not_ended",
        "removed",
        "store_unavailable",
        "uploads_busy",
        *KEY_ERRORS,
        *LEDGER,
        status=202,
        reply="Prediction",
        example=examples.RETRIED,
        description="A new prediction, whose `retry_of` is the old one",
        headers={**{name: HEADERS[name] for name in ("Prefer", "traceparent")}, **KEY_HEADER},
        more=ENDED_IN_TIME,
    ),
)
async def retry_prediction(request: Request, prediction_id: str) -> Response:
    """Run it once more: the same image and parameters, as a new prediction without deadlines."""
    admit_job(request)
    parts, job_id = parts_of(request), new_id()
    key = key_of(request)
    old = await parts.job(seen_by(request), prediction_id)
    if key is not None and old.owner != owner_of(request):
        key = own_key(owner_of(request), key)  # an admin's keys are none of the owner's
    return await create_reply(
        request, parts, job_id, partial(retry, parts, old, job_id=job_id, key=key)
    )
