"""What a request is answered that makes a job, or that shows the one it made before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from api.dependencies import Parts, base_of, wait_of
from api.intake.asking import read_submission
from api.presenting import present
from api.repeating import Accepted, as_created
from api.replies import json_reply
from common.job import Job

REPLAYED = {"Idempotent-Replayed": "true"}


async def create_reply(
    request: Request, parts: Parts, job_id: str, accept: Callable[[], Awaitable[Accepted]]
) -> Response:
    """201 with the job if it has ended, within `Prefer: wait` where that is asked; else 202."""
    wait = wait_of(request)
    with parts.waiters.expect(job_id) as watch:
        accepted = await accept()
        job = accepted.job
        if wait and not accepted.replayed:
            job = await parts.waiters.ended(job, watch, wait)
    if wait and accepted.replayed:
        job = await _ended(parts, job, wait)
    job = as_created(job)
    base = base_of(request)
    return json_reply(
        present(job, base, parts.queues),
        201 if job.state.terminal else 202,
        {
            "Location": f"{base}/v1/predictions/{job.id}",
            **(REPLAYED if accepted.replayed else {}),
        },
    )


async def accept_request(
    request: Request,
    parts: Parts,
    job_id: str,
    *,
    model: str | None = None,
    route: str,
    key: str | None,
    chosen_id: bool = False,
) -> Accepted:
    """Its own function, so that nothing of the upload is held while the request waits."""
    with parts.uploads.hold() as hold:
        asked = await read_submission(request, parts, hold, model=model)
        if key is None and not chosen_id:
            return Accepted(await parts.submitter.submit(job_id, asked))
        return await parts.submitter.submit_once(job_id, asked, route=route, key=key)


async def _ended(parts: Parts, job: Job, seconds: float) -> Job:
    if job.state.terminal:
        return job
    with parts.waiters.expect(job.id) as watch:
        parts.watching.read_again(job.id)  # it may have ended since it was read
        return await parts.waiters.ended(job, watch, seconds)
