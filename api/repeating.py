"""Requests that may be sent again: by an `Idempotency-Key`, or with an id that the client chose."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

import msgspec
from msgspec.structs import replace
from starlette.requests import Request

from api.problems import Problem
from common.job import Job, JobState, is_url
from common.object_key import content_of

LONGEST_KEY = 255  # characters
PUT = "PUT /v1/predictions"  # the route of ids that clients choose

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_encoder = msgspec.json.Encoder(order="sorted")

# What /docs says of it.
KEY_HEADER = {
    "Idempotency-Key": (
        "At most 255 characters of your own. Requests with the same key make one job: for 24 "
        "hours the reply shows it again, with `Idempotent-Replayed: true`.",
        "order-4711-photo-3",
    )
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that was accepted, now or by an earlier request like this one."""

    job: Job
    replayed: bool = False


def key_of(request: Request) -> str | None:
    """The `Idempotency-Key`. Raises Problem `invalid_idempotency_key`."""
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isprintable()):
        raise Problem(
            "invalid_idempotency_key",
            f"The Idempotency-Key has {len(key)} characters: send 1 to {LONGEST_KEY} printable "
            "ones, such as a UUID.",
        )
    return key


def own_key(*words: str) -> str:
    """An idempotency key that no client can send."""
    return "\t".join(words)


def checked_id(word: str) -> str:
    """An id that a client chose. Raises Problem `invalid_prediction_id`."""
    if not _UUID.fullmatch(word):
        raise Problem(
            "invalid_prediction_id",
            f"{word[:60]!r} is no UUID in lower case: choose one such as "
            "019aa5f0-2c44-7b1e-9d6f-3f0c8a51e7d2.",
        )
    return word


def fingerprint_of(route: str, job: Job) -> str:
    """What was asked, and by which route. Two requests that differ in it are not the same.

    Not in it are the model's version, which the operator changes, and deadlines: a request that
    says "within 30 seconds" means another moment each time it is sent.
    """
    spec = job.spec
    images = {name: _content(place) for name, place in spec.inputs.items()}
    asked = (
        route,
        spec.model,
        spec.priority,
        spec.parameters,
        images,
        job.labels,
        job.metadata,
        job.webhook,
        job.webhook_events,
    )
    return sha256(_encoder.encode(asked)).hexdigest()


def _content(place: str) -> str:
    """A URL stands for itself."""
    return place if is_url(place) else content_of(place)


def key_reused() -> Problem:
    """The key, with another request than the one that it made a job for."""
    return Problem(
        "idempotency_key_reused",
        "This Idempotency-Key was sent with another request: send that one again, or a new key.",
    )


def id_reused() -> Problem:
    """The same for an id."""
    return Problem(
        "prediction_id_reused",
        "A prediction with this id was made by another request: choose a new id.",
    )


def as_created(job: Job) -> Job:
    """The job as a create reply shows it: it has ended, or it is starting."""
    if job.state.terminal:
        return job
    return replace(job, state=JobState.STARTING, attempt=0, started_at=None, progress=None)
