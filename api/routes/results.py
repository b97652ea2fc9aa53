"""Access links: a result for whoever has the link, as long as it is kept."""

from __future__ import annotations

import hmac
from pathlib import PurePosixPath
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.database import jobs
from api.dependencies import Parts, base_of, parts_of
from api.documentation import LEDGER, described, reference
from api.presenting import output_of
from api.problems import Problem
from api.replies import json_reply
from api.routes import examples
from api.schemas import Pending, TextResult
from common.job import Job, JobState, Output, OutputFile

router = APIRouter(tags=["Results"])

RETRY_AFTER_SECONDS = 1  # that a poller of a pending result waits
LINK_SECONDS = 300  # that a presigned link lives

# Bytes that users sent, or that models made of them: nothing in them may run as ours, and the
# link's token stays out of other sites' logs.
_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-cache",
}
_PENDING: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Not there yet: ask again after `Retry-After` seconds",
        "content": {
            "application/json": {
                "schema": reference("Pending"),
                "example": {
                    "id": examples.PREDICTION["id"],
                    "status": "starting",
                    "reason": "waiting for a consumer",
                },
            }
        },
    },
    307: {"description": "The file, at a link that lives for five minutes"},
}
_ERRORS = ("unknown_result", "canceled", "removed", "failed", "store_unavailable", *LEDGER)


@router.get(
    "/v1/results/{prediction_id}/{token}",
    **described(
        *_ERRORS,
        media_type="text/plain",
        example="a red circle on a white background",
        description="The text, or the image's bytes; JSON by `Accept: application/json`",
        more=_PENDING,
    ),
)
async def get_result(request: Request, prediction_id: str, token: str) -> Response:
    """The result behind an `access_link`."""
    parts = parts_of(request)
    job = await _job(parts, prediction_id, token)
    if not job.state.terminal:
        return _pending(job, parts)
    output = _output(job)
    if "application/json" in request.headers.get("accept", "") or len(output.files) > 1:
        body = TextResult(id=job.id, output=output_of(job, base_of(request)))
        return json_reply(body, headers=_SAFE)
    if not output.files:
        return Response(output.text or "", media_type="text/plain; charset=utf-8", headers=_SAFE)
    file = output.files[0]
    link = await parts.store.link(file.key, expires_in=LINK_SECONDS)
    if link is None:
        return await _bytes(parts, job, file)
    return RedirectResponse(link, headers={**_SAFE, "Cache-Control": "no-store"})


@router.get(
    "/v1/results/{prediction_id}/{token}/{number}",
    **described(
        *_ERRORS,
        media_type="image/png",
        example="(the file's bytes)",
        description="The file's bytes",
        more={202: _PENDING[202]},
    ),
)
async def get_result_file(
    request: Request, prediction_id: str, token: str, number: str
) -> Response:
    """One file of a result, numbered from 0. Never a redirect: some clients follow none."""
    parts = parts_of(request)
    job = await _job(parts, prediction_id, token)
    if not job.state.terminal:
        return _pending(job, parts)
    files = {str(index): file for index, file in enumerate(_output(job).files)}
    if number not in files:
        raise _unknown()
    return await _bytes(parts, job, files[number])


async def _job(parts: Parts, job_id: str, token: str) -> Job:
    if "\0" in job_id:
        raise _unknown()
    async with parts.database.read() as connection:
        job = await jobs.get(connection, job_id)
    # Compared even where there is no job: how long a reply takes then tells nothing.
    known = job.link_token if job is not None else "0" * 32
    if not hmac.compare_digest(known.encode(), token.encode()) or job is None:
        raise _unknown()
    return job


def _pending(job: Job, parts: Parts) -> Response:
    reason = parts.workers.model(job.spec.model).reason if job.state is JobState.STARTING else ""
    body = Pending(id=job.id, status=job.state, reason=reason)
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS), "Cache-Control": "no-store"}
    return json_reply(body, 202, headers)


def _output(job: Job) -> Output:
    """What a job that has ended made. Raises Problem for one that made nothing, or was removed."""
    if job.removed_at is not None:
        raise Problem("removed", "The result was removed: run the prediction again.")
    if job.state is JobState.CANCELED:
        raise Problem(
            job.error_code or "canceled", job.error or "The prediction was canceled.", status=410
        )
    if job.state is JobState.FAILED:
        raise Problem(job.error_code or "failed", job.error or "The prediction failed.", status=422)
    return job.output or Output()


async def _bytes(parts: Parts, job: Job, file: OutputFile) -> Response:
    content = await parts.store.get(file.key)
    name = f"{job.id}-{PurePosixPath(file.key).name}"
    headers = {**_SAFE, "Content-Disposition": f'inline; filename="{name}"'}
    return Response(content, media_type=file.content_type, headers=headers)


def _unknown() -> Problem:
    return Problem("unknown_result", "There is no such result: copy the whole access_link.")
