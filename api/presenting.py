"""The job resource, as HTTP shows it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import lru_cache

from api.live.queues import Queues
from api.schemas import Metrics, Prediction, PredictionUrls, Queue
from common.catalogue import ModelSpec
from common.job import Job, JsonObject, is_url
from common.object_key import content_of


def present(job: Job, base: str, queues: Queues) -> Prediction:
    """`job` with absolute links under `base`."""
    return shown(job, base, queues.queue_of(job))


def shown(job: Job, base: str, queue: Queue) -> Prediction:
    """`job` with what is known of its waiting."""
    url = f"{base}/v1/predictions/{job.id}"
    ended_at = job.completed_at
    if ended_at is not None and job.reused_from is not None:
        ended_at = job.created_at  # in the ledger it ended when the result came to be
    return Prediction(
        id=job.id,
        model=job.spec.model,
        version=version_id(job.spec.model, job.version),
        status=job.state,
        input=_input(job),
        output=output_of(job, base),
        error=job.error,
        error_code=job.error_code,
        logs=logs_of(job),
        metrics=Metrics(
            queue_time=_between(job.created_at, job.started_at),
            predict_time=job.predict_time,
            total_time=_between(job.created_at, ended_at),
        ),
        created_at=iso_time(job.created_at),
        started_at=iso_time(job.started_at) if job.started_at else None,
        completed_at=iso_time(ended_at) if ended_at else None,
        start_by=iso_time(job.spec.start_by) if job.spec.start_by else None,
        priority=job.spec.priority,
        labels=job.labels,
        metadata=job.metadata,
        group_id=job.group_id,
        attempt=job.attempt,
        retry_of=job.retry_of,
        reused=job.reused_from is not None,
        reused_from=job.reused_from,
        queue=queue,
        access_link=access_link(job, base),
        data_removed=job.removed_at is not None,
        urls=PredictionUrls(get=url, cancel=f"{url}/cancel", stream=f"{url}/stream", web=url),
    )


def output_of(job: Job, base: str) -> str | list[str] | JsonObject | None:
    """The text, or the file's URL (several: a list), or both with their names."""
    if job.output is None:
        return None
    link = access_link(job, base)
    urls = [f"{link}/{number}" for number in range(len(job.output.files))]
    if not urls:
        return job.output.text
    files: str | list[str] = urls[0] if len(urls) == 1 else urls
    return files if job.output.text is None else {"text": job.output.text, "files": files}


def logs_of(job: Job) -> str:
    """What the engine said, and how far the job is as Replicate's clients read it off a bar."""
    if job.progress is None:
        return job.logs
    percent = int(100 * job.progress)
    bar = "█" * (percent // 10) + " " * (10 - percent // 10)
    return f"{job.logs}{percent:3}%|{bar}| {percent}/100\n"


def access_link(job: Job, base: str) -> str:
    """Where the result is, for whoever has the link."""
    return f"{base}/v1/results/{job.id}/{job.link_token}"


@lru_cache(maxsize=1024)
def version_id(model: str, version: str) -> str:
    """Of all models' versions only this one has it: clients send it without the model."""
    return hashlib.sha256(f"{model}@{version}".encode()).hexdigest()


def version_id_of(model: ModelSpec) -> str:
    """The id of the version that the catalogue has."""
    return version_id(model.name, model.version)


def iso_time(seconds: float) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


def _input(job: Job) -> JsonObject:
    """What was asked. A stored image is named by its content: its key is nobody's business."""
    images = {
        name: place if is_url(place) else "sha256:" + content_of(place)
        for name, place in job.spec.inputs.items()
    }
    return {**images, **job.spec.parameters}


def _between(start: float, end: float | None) -> float | None:
    return None if end is None else round(end - start, 6)
