"""The bodies of requests and replies. They are encoded as they stand, and /docs shows them."""

from __future__ import annotations

from typing import Any

import msgspec

from common.job import JobState, JsonObject, Priority


class PredictionRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to run, on what."""

    model: str | None = None
    version: str | None = None
    input: dict[str, Any] = {}
    priority: str = Priority.NORMAL.value
    labels: list[str] = []
    metadata: JsonObject = {}


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds; null while they are not known."""

    queue_time: float | None
    predict_time: float | None
    total_time: float | None


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """Why the job waits, and for how long."""

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
    queue: Queue
    access_link: str
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


def components() -> dict[str, Any]:
    """The JSON schemas of all of them, by name, as OpenAPI wants them."""
    kinds = [
        kind
        for kind in globals().values()
        if isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and kind.__module__ == __name__
    ]
    _, schemas = msgspec.json.schema_components(
        kinds, schema_hook=_any_json, ref_template="#/components/schemas/{name}"
    )
    return schemas


def _any_json(kind: type) -> dict[str, Any]:
    if kind is object:
        return {"title": "Any JSON"}
    raise NotImplementedError(kind)
