"""A job as a row, and back."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row

from common.job import Job, JobSpec, JobState, JsonObject, Output, Parameter, Priority

_encoder = msgspec.json.Encoder()
_parameters = msgspec.json.Decoder(dict[str, Parameter])
_inputs = msgspec.json.Decoder(dict[str, str])
_words = msgspec.json.Decoder(tuple[str, ...])
_object = msgspec.json.Decoder(JsonObject)
_output = msgspec.json.Decoder(Output)

_SAME = (
    "id",
    "owner",
    "version",
    "link_token",
    "created_at",
    "sequence",
    "attempt",
    "progress",
    "started_at",
    "completed_at",
    "predict_time",
    "error",
    "error_code",
    "logs",
    "group_id",
    "cancel_at",
    "retry_of",
    "reused_from",
    "reuse_key",
    "webhook",
    "traceparent",
    "dead_letter",
    "removed_at",
    "log_topic",
    "log_partition",
    "log_offset",
)


def to_json(value: object) -> str:
    """Raises ValueError, or TypeError, for what JSON in UTF-8 cannot hold."""
    return _encoder.encode(value).decode()


def json_object(text: str) -> JsonObject:
    """The inverse of `to_json` for an object of the user's own."""
    return _object.decode(text)


def row_of(job: Job) -> dict[str, Any]:
    """The columns of `jobs`. Raises ValueError or TypeError for text or metadata that has none."""
    return {
        **{name: getattr(job, name) for name in _SAME},
        "model": job.spec.model,
        "priority": job.spec.priority.value,
        "lane": None if job.lane is None else job.lane.value,
        "parameters": to_json(job.spec.parameters),
        "inputs": to_json(job.spec.inputs),
        "start_by": job.spec.start_by,
        "webhook_events": to_json(job.webhook_events) if job.webhook_events else None,
        "state": job.state.value,
        "output": None if job.output is None else to_json(job.output),
        "labels": to_json(job.labels),
        "metadata": to_json(job.metadata),
    }


def label_rows(job: Job) -> list[dict[str, Any]]:
    """The rows of `job_labels`."""
    return [
        {"owner": job.owner, "label": label, "created_at": job.created_at, "job": job.id}
        for label in dict.fromkeys(job.labels)
    ]


def job_of(row: Row[*tuple[Any, ...]]) -> Job:
    """The job of a row that holds all columns of `jobs`."""
    columns = row._mapping
    return Job(
        **{name: columns[name] for name in _SAME},
        spec=spec_of(row),
        lane=None if columns["lane"] is None else Priority(columns["lane"]),
        state=JobState(columns["state"]),
        output=None if columns["output"] is None else _output.decode(columns["output"]),
        labels=_words.decode(columns["labels"]),
        webhook_events=_words.decode(columns["webhook_events"] or "[]"),
        metadata=_object.decode(columns["metadata"]),
    )


def spec_of(row: Row[*tuple[Any, ...]]) -> JobSpec:
    """What was asked, of a row that holds what `JobSpec` does."""
    columns = row._mapping
    return JobSpec(
        model=columns["model"],
        priority=Priority(columns["priority"]),
        parameters=_parameters.decode(columns["parameters"]),
        inputs=_inputs.decode(columns["inputs"]),
        start_by=columns["start_by"],
    )
