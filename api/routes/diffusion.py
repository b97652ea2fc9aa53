"""The image-to-image system's route, over the canonical calls."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.access.authentication import admit_job
from api.creating import REPLAYED
from api.dependencies import Parts, base_of, parts_of
from api.documentation import LEDGER, described
from api.intake.asking import Asked, check
from api.intake.uploads import Form, read_form
from api.presenting import access_link
from api.problems import Problem
from api.repeating import KEY_HEADER, Accepted, key_of
from api.replies import json_reply
from api.routes import examples
from api.schemas import DiffusionReply, PredictionRequest
from api.submit import new_id
from common.job import Priority

router = APIRouter(tags=["Aliases"])

_ROUTE = "/api/diffusion"
_MESSAGE = "The image was accepted: its result will be at the access link."
_BODY = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["image"],
            "properties": {"image": {"type": "string", "format": "binary"}},
        }
    }
}


@router.post(
    _ROUTE,
    **described(
        "queue_full",
        "invalid_form",
        "unsupported_media_type",
        "not_an_image",
        "unknown_model",
        "file_too_large",
        "missing_image",
        "invalid_parameter",
        "unknown_priority",
        "empty_file",
        "truncated_image",
        "image_too_large",
        "store_unavailable",
        "uploads_busy",
        "invalid_idempotency_key",
        "idempotency_key_reused",
        *LEDGER,
        reply="DiffusionReply",
        example={
            "image_id": examples.PREDICTION["id"],
            "message": _MESSAGE,
            "access_link": examples.LINK,
        },
        description="Accepted",
        body=_BODY,
        headers=KEY_HEADER,
    ),
)
async def diffuse(
    request: Request,
    model_name: Annotated[str | None, Query(max_length=200)] = None,
    prompt: str = "Make it better",
    priority: str = "0",
) -> Response:
    """Change an image by a prompt. `priority`: 0 normal, below 0 low, above 0 high."""
    admit_job(request)
    parts = parts_of(request)
    body = PredictionRequest(
        model=model_name or _default_model(parts),
        input={"prompt": prompt},
        priority=_priority(priority),
    )
    accepted = await _accept(request, parts, body, key_of(request))
    job = accepted.job
    reply = DiffusionReply(
        image_id=job.id, message=_MESSAGE, access_link=access_link(job, base_of(request))
    )
    return json_reply(reply, headers=REPLAYED if accepted.replayed else None)


async def _accept(
    request: Request, parts: Parts, body: PredictionRequest, key: str | None
) -> Accepted:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise _wrong_type("Send multipart/form-data with the picture as the file `image`.")
    with parts.uploads.hold() as hold:
        form: Form = await read_form(request, hold, parts.limits)
        asked = Asked(body, form.files.get("image"))
        try:
            submission = await check(request, parts, hold, asked)
        except Problem as problem:
            if problem.code != "not_an_image":
                raise
            raise _wrong_type(problem.detail, code=problem.code) from problem
        if key is None:
            return Accepted(await parts.submitter.submit(new_id(), submission))
        return await parts.submitter.submit_once(new_id(), submission, route=_ROUTE, key=key)


def _wrong_type(message: str, code: str = "unsupported_media_type") -> Problem:
    return Problem(code, message, status=400, members={"message": message})


def _default_model(parts: Parts) -> str:
    for model in parts.catalogue:
        if model.makes_images:
            return model.name
    raise Problem("unknown_model", "No model of the catalogue makes images: give model_name.")


def _priority(word: str) -> str:
    try:
        number = int(word)
    except ValueError:
        return word
    if number == 0:
        return Priority.NORMAL.value
    return Priority.HIGH.value if number > 0 else Priority.LOW.value
