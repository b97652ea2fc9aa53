"""The bodies of requests and replies. They are encoded as they stand, and /docs shows them."""

from __future__ import annotations

import sys
from datetime import datetime
from types import ModuleType
from typing import Annotated, Any

import msgspec

from common.job import JobState, JsonObject, Priority


class PredictionRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to run, on what.

    `input.image` is the id of a file of POST /v1/files, a data URI, or an https:// URL, which the
    consumer fetches.
    """

    model: str | None = None
    version: str | None = None
    input: dict[str, Any] = {}
    priority: str = Priority.NORMAL.value
    start_by: Annotated[
        float | str | None,
        msgspec.Meta(description="Canceled if unstarted then: seconds from now, or a time."),
    ] = None
    labels: list[str] = []
    metadata: JsonObject = {}
    webhook: Annotated[
        str | None, msgspec.Meta(description="A URL that is told how the job goes on.")
    ] = None
    webhook_events_filter: Annotated[
        list[str] | None, msgspec.Meta(description="start, output, logs, completed; null: all.")
    ] = None
    reuse: Annotated[
        bool | None,
        msgspec.Meta(description="An earlier result of yours will do; null: as the server is set."),
    ] = None
    stream: bool | None = None  # Replicate's clients say it; `urls.stream` is always there


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds; null while they are not known."""

    queue_time: float | None
    predict_time: float | None
    total_time: float | None


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs go first, about; seconds until it starts, about; why it waits, if not for them.

    Null while nothing is known, and once it does not wait.
    """

    position: int | None
    eta_seconds: float | None
    reason: str


class PredictionUrls(msgspec.Struct, frozen=True, kw_only=True):
    """Where to go from here."""

    get: str
    cancel: str
    stream: str
    web: str


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """A job as HTTP shows it. Times are ISO 8601 in UTC."""

    id: str
    model: str
    version: str
    status: JobState
    input: JsonObject
    output: str | list[str] | JsonObject | None
    error: str | None
    error_code: str | None
    logs: str
    metrics: Metrics
    created_at: str
    started_at: str | None
    completed_at: str | None
    start_by: str | None
    priority: Priority
    labels: tuple[str, ...]
    metadata: JsonObject
    group_id: str | None
    attempt: int
    retry_of: str | None
    reused: bool
    reused_from: str | None
    queue: Queue
    access_link: str
    data_removed: bool
    urls: PredictionUrls


class PredictionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions, newest first. `next` leads to older ones."""

    next: str | None
    previous: str | None
    results: list[Prediction]


class FileUrls(msgspec.Struct, frozen=True, kw_only=True):
    """What a prediction's input takes in place of the file."""

    get: str


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """An uploaded image."""

    id: str
    name: str
    content_type: str
    size: int
    etag: str
    checksums: dict[str, str]
    metadata: JsonObject
    created_at: str
    expires_at: str | None
    urls: FileUrls


class FilePage(msgspec.Struct, frozen=True, kw_only=True):
    """Files, newest first."""

    next: str | None
    previous: str | None
    results: list[StoredFile]


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model, and what it takes."""

    id: str
    created_at: str
    cog_version: str
    openapi_schema: JsonObject


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """A running consumer of the model."""

    id: str
    state: str
    device: str
    running: int


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the catalogue, and how it is now."""

    id: str
    object: str
    created: int
    owned_by: str
    url: str
    owner: str
    name: str
    description: str
    visibility: str
    run_count: int
    task: str | None
    makes: str | None
    state: str
    reason: str
    workers: list[WorkerView]
    latest_version: ModelVersion


class ModelPage(msgspec.Struct, frozen=True, kw_only=True):
    """All models: `results` for Replicate's client, `object` and `data` for OpenAI's."""

    object: str
    data: list[Model]
    next: str | None
    previous: str | None
    results: list[Model]


class VersionPage(msgspec.Struct, frozen=True, kw_only=True):
    """The versions of a model."""

    next: str | None
    previous: str | None
    results: list[ModelVersion]


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """The result is not there yet: ask again after `Retry-After` seconds."""

    id: str
    status: JobState
    reason: str


class TextResult(msgspec.Struct, frozen=True, kw_only=True):
    """A result for `Accept: application/json`."""

    id: str
    output: str | list[str] | JsonObject | None


class DiffusionReply(msgspec.Struct, frozen=True, kw_only=True):
    """The alias's reply to an image that was accepted."""

    image_id: str
    message: str
    access_link: str


class TitleRequest(msgspec.Struct, kw_only=True):
    """An image as base64, or as a data URI."""

    image: str


class Title(msgspec.Struct, frozen=True, kw_only=True):
    """The caption of the image."""

    title: str


class DeadLetterUrls(msgspec.Struct, frozen=True, kw_only=True):
    """The prediction itself, and what can be done with it. POST to the last two."""

    get: str
    replay: str
    discard: str


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction that failed for good, through nothing that its user sent."""

    id: str
    model: str
    cause: str
    error: str
    attempts: int
    created_at: str
    failed_at: str
    data_removed: bool
    urls: DeadLetterUrls


class DeadLetterPage(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters that wait, the latest failures first."""

    next: str | None
    previous: str | None
    results: list[DeadLetter]


class DeadLetterGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The dead letters of one model with one cause; `sample` is the latest of them."""

    model: str
    cause: str
    count: int
    first_failed_at: str
    last_failed_at: str
    sample: DeadLetter


class DeadLetterGroups(msgspec.Struct, frozen=True, kw_only=True):
    """All groups, the largest first."""

    results: list[DeadLetterGroup]


class DeadLetterSelection(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters: some by id, those that match every filter given, or all."""

    ids: list[str] | None = None
    all: bool = False
    cause: str | None = None
    model: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    failed_after: datetime | None = None
    failed_before: datetime | None = None


class DeadLettersDiscarded(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, and how many that were meant still wait: call again for those."""

    done: int
    remaining: int
    ids: list[str]


class DeadLetterReplay(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter, and the prediction that runs it once more."""

    id: str
    prediction: str
    url: str


class DeadLetterRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter that cannot be replayed, and waits on: `detail` says why."""

    id: str
    code: str
    detail: str


class DeadLettersReplayed(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, and how many that were meant still wait: call again for those."""

    done: int
    remaining: int
    results: list[DeadLetterReplay]
    refused: list[DeadLetterRefusal]


class DependencyState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one dependency answers."""

    ok: bool
    error: str | None


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether jobs can be accepted."""

    status: str
    dependencies: dict[str, DependencyState]


class Liveness(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers."""

    status: str


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Any error. `code` is stable, `detail` names the fix."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


def components(*modules: ModuleType) -> dict[str, Any]:
    """The JSON schemas of all of theirs and of those here, by name, as OpenAPI wants them."""
    here = sys.modules[__name__]
    kinds = [
        kind
        for module in (here, *modules)
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and kind.__module__ == module.__name__
    ]
    _, schemas = msgspec.json.schema_components(
        kinds, schema_hook=_any_json, ref_template="#/components/schemas/{name}"
    )
    return schemas


def _any_json(kind: type) -> dict[str, Any]:
    if kind is object:
        return {"title": "Any JSON"}
    raise NotImplementedError(kind)
