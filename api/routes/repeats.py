"""Predictions that may be asked for again: by an id of the client's own."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.creating import accept_request, create_reply
from api.dependencies import parts_of
from api.documentation import described
from api.repeating import PUT, checked_id
from api.routes.predictions import CREATE_ERRORS, CREATED, HEADERS

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
    job_id = checked_id(prediction_id)
    parts = parts_of(request)
    accept = partial(accept_request, request, parts, job_id, route=PUT, key=None, chosen_id=True)
    return await create_reply(request, parts, job_id, accept)
