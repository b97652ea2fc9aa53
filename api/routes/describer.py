"""The describer's route, over the canonical calls: an image in, its title out."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.access.authentication import admit_job
from api.dependencies import Parts, owner_of, parts_of
from api.documentation import LEDGER, described, reference
from api.intake.asking import decode
from api.intake.inputs import decode_base64, decode_data_uri
from api.intake.pictures import check_picture
from api.intake.uploads import read_body
from api.problems import Problem
from api.replies import json_reply
from api.routes import examples
from api.schemas import Title, TitleRequest
from api.submit import Submission, new_id
from common.job import Job, JobState

router = APIRouter(tags=["Aliases"])

_ENVELOPE_BYTES = 4096  # of JSON and data URI around the base64
_LARGE = 1024 * 1024  # bytes whose decoding is noticed by other requests
_BODY = {
    "application/json": {
        "schema": reference("TitleRequest"),
        "example": {"image": examples.PICTURE},
    }
}


@router.post(
    "/api/v1/predictions",
    **described(
        "queue_full",
        "invalid_json",
        "file_too_large",
        "not_an_image",
        "invalid_request",
        "invalid_image",
        "empty_file",
        "truncated_image",
        "image_too_large",
        "failed",
        "store_unavailable",
        "uploads_busy",
        "title_timeout",
        *LEDGER,
        reply="Title",
        example={"title": "a red circle on a white background"},
        body=_BODY,
    ),
)
async def title_image(request: Request) -> Response:
    """Wait for the title of an image that is sent as base64."""
    admit_job(request)
    parts = parts_of(request)
    job_id = new_id()
    seconds = parts.settings.title_timeout
    parts.admission.check_model(parts.settings.title_model)
    with parts.waiters.expect(job_id) as changed:
        job = await _accept(request, parts, job_id)
        job = await parts.waiters.ended(job, changed, seconds)
    if not job.state.terminal:
        job = await _give_up(parts, job, seconds)
    if job.state is not JobState.SUCCEEDED or job.output is None:
        raise Problem(job.error_code or "failed", job.error or "The prediction failed.", status=422)
    return json_reply(Title(title=job.output.text or ""))


async def _accept(request: Request, parts: Parts, job_id: str) -> Job:
    with parts.uploads.hold() as hold:
        try:
            body = await read_body(request, hold, parts.limits.bytes * 4 // 3 + _ENVELOPE_BYTES)
            content = await _off_loop_if_large(body)
            picture = check_picture(content, parts.limits)
        except Problem as problem:
            if problem.status != 413:
                raise
            raise Problem("file_too_large", problem.detail, status=400) from problem
        asked = Submission(
            owner=owner_of(request),
            model=parts.catalogue[parts.settings.title_model],
            picture=picture,
            reuse=parts.settings.reuse,
        )
        return await parts.submitter.submit(job_id, asked)


async def _off_loop_if_large(body: bytes) -> bytes:
    if len(body) > _LARGE:
        return await asyncio.to_thread(_image_of, body)
    return _image_of(body)


def _image_of(body: bytes) -> bytes:
    image = decode(body, TitleRequest).image
    return decode_data_uri(image) if image[:5].lower() == "data:" else decode_base64(image)


async def _give_up(parts: Parts, job: Job, seconds: float) -> Job:
    """The job, if it ended just now; else it is canceled. Raises Problem `title_timeout`."""
    ended = await parts.canceler.cancel(
        job.id, code="canceled", error=f"No title within {seconds:g} seconds."
    )
    if ended is not None and ended.state is JobState.SUCCEEDED:
        return ended
    raise Problem(
        "title_timeout",
        f"No title within {seconds:g} seconds: the job was canceled, try again. "
        f"GET /v1/models says how the model is.",
    )
