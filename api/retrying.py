"""A job run once more: a new job that asks for the same, and names the old one."""

from __future__ import annotations

from api.dependencies import Parts
from api.intake.pictures import Picture, check_picture
from api.intake.uploads import Hold
from api.problems import Problem
from api.repeating import Accepted
from api.submit import Submission, new_id
from common.errors import ObjectMissing
from common.job import Job, is_url


async def retry(
    parts: Parts, old: Job, *, job_id: str | None = None, key: str | None = None
) -> Accepted:
    """A new job of `old`'s owner, with today's version of the model and without its deadlines.

    `job_id` is the new job's, where the caller waits for it. With a `key` of the owner's, the same
    retry makes one job however often it is sent. Raises Problem (`not_ended`, `removed`,
    `queue_full`, or what the key is refused for), UnknownModel, StoreUnavailable,
    LedgerUnavailable.
    """
    if not old.state.terminal:
        raise Problem(
            "not_ended", "The prediction has not ended: wait for its end, or cancel it first."
        )
    if old.removed_at is not None:
        raise _removed()
    parts.admission.check_model(old.spec.model)
    with parts.uploads.hold() as hold:
        picture = await _picture(parts, old, hold)
        asked, job_id = _anew(parts, old, picture), job_id or new_id()
        if key is None:
            return Accepted(await parts.submitter.submit(job_id, asked))
        route = f"POST /v1/predictions/{old.id}/retry"
        return await parts.submitter.submit_once(job_id, asked, route=route, key=key)


async def _picture(parts: Parts, old: Job, hold: Hold) -> Picture | None:
    """The old job's image, to be stored anew; None for none, or for a URL.

    So each job has an object of its own, and the removal of the old one takes nothing from it.
    """
    place = old.spec.inputs.get("image")
    if place is None or is_url(place):
        return None
    try:
        content = await parts.store.get(place)
    except ObjectMissing as error:
        raise _removed() from error
    hold.add(len(content))
    return check_picture(content, parts.limits)


def _anew(parts: Parts, old: Job, picture: Picture | None) -> Submission:
    place = old.spec.inputs.get("image")
    return Submission(
        owner=old.owner,
        model=parts.catalogue[old.spec.model],
        priority=old.spec.priority,
        parameters=old.spec.parameters,
        picture=picture,
        image_url=place if picture is None else None,
        labels=old.labels,
        metadata=old.metadata,
        webhook=old.webhook,
        webhook_events=old.webhook_events,
        group_id=old.group_id,
        retry_of=old.id,
    )


def _removed() -> Problem:
    return Problem("removed", "Its image was removed: send it again in a new prediction.")
