"""How a job is accepted: its bytes are stored, its row is committed, and it goes to the log."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
import uuid_utils

from api.database.accepting import Accepting
from api.gathering import Gathering
from api.overtime import Overtime
from api.pictures import Picture
from common import wire
from common.catalogue import ModelSpec
from common.errors import LogUnavailable
from common.job import Job, JobSpec, JsonObject, Parameter, Priority
from common.job_log import JobLog
from common.object_store import ObjectStore
from common.topic import job_topic

APPEND_SECONDS = 2.0  # that a reply waits for the log; the sweeper appends what never landed

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What was asked, checked and complete."""

    owner: str
    model: ModelSpec
    priority: Priority = Priority.NORMAL
    parameters: dict[str, Parameter] = field(default_factory=dict)
    picture: Picture | None = None
    start_by: float | None = None  # seconds since the epoch, as is the next
    cancel_at: float | None = None
    labels: tuple[str, ...] = ()
    metadata: JsonObject = field(default_factory=dict)


def new_id() -> str:
    """An id for a job or a file; ids sort by the time they were made."""
    return str(uuid_utils.uuid7())


def input_key(owner: str, sha256: str, at: float) -> str:
    """Where input bytes lie: a key for each owner and UTC day, so that old days can be swept."""
    return f"inputs/{owner}/{datetime.fromtimestamp(at, UTC):%Y-%m-%d}/{sha256}"


class Submitter:
    """Accepts jobs."""

    def __init__(self, *, log: JobLog, store: ObjectStore, accepting: Accepting) -> None:
        self._log, self._store, self._accepting = log, store, accepting
        self._gathering = Gathering()
        self._appends = Overtime()

    async def submit(self, job_id: str, asked: Submission) -> Job:
        """The job, durably accepted. Raises StoreUnavailable, LedgerUnavailable: then it is not."""
        job = _job(job_id, asked)
        if asked.picture is not None:
            key, picture = job.spec.inputs["image"], asked.picture
            await self._gathering.stored(
                self._store.put(key, picture.content, picture.content_type)
            )
        await self._accepting.accept(job)
        await self._appends.wait(self._append(job), APPEND_SECONDS)
        return job

    async def close(self) -> None:
        """Let the appends that are under way land."""
        await self._appends.close()

    async def _append(self, job: Job) -> None:
        try:
            position = await self._log.append(
                job_topic(job.spec.model, job.spec.priority),
                job.id,
                wire.encode(job.spec),
                wire.HEADERS,
            )
        except LogUnavailable as error:
            _log.warning("append_failed", job_id=job.id, model=job.spec.model, error=str(error))
        else:
            self._accepting.keep_position(job.id, position)


def _job(job_id: str, asked: Submission) -> Job:
    now = time.time()
    inputs = {}
    if asked.picture is not None:
        inputs["image"] = input_key(asked.owner, asked.picture.sha256, now)
    return Job(
        id=job_id,
        owner=asked.owner,
        spec=JobSpec(
            model=asked.model.name,
            priority=asked.priority,
            parameters=asked.parameters,
            inputs=inputs,
            start_by=asked.start_by,
        ),
        version=asked.model.version,
        link_token=secrets.token_hex(16),
        created_at=now,
        cancel_at=asked.cancel_at,
        labels=asked.labels,
        metadata=asked.metadata,
    )
