"""What happens to a job and to a worker, as it travels on the log.

Topic `events` carries the Job… events, keyed by job id; `workers` carries WorkerHeartbeat;
`updates` carries JobUpdate; `control` carries CancelJob. What scalers say on `events` and hear on
`control` is in common/scaling.py. Times are seconds since the epoch, UTC.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from common.job import JobState, Output

# Why a job was canceled: its user asked for it, or its `start_by` passed.
CANCELED = "canceled"
DEADLINE_PASSED = "deadline_passed"

HEARTBEAT_SECONDS = 10.0
SILENT_SECONDS = 3 * HEARTBEAT_SECONDS  # after which a worker that was not heard of is gone


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """The common part of all job events. `token` names the attempt that speaks."""

    job: str
    token: str
    at: float


class JobStarted(Event, frozen=True, kw_only=True, tag="started"):
    """An attempt is about to run. Without an end, or a release, it counts as a lost start."""

    worker: str


class JobReleased(Event, frozen=True, kw_only=True, tag="released"):
    """The attempt ended without a verdict on the job (shutdown, infrastructure, crash)."""

    reason: str


class JobProgress(Event, frozen=True, kw_only=True, tag="progress"):
    """How far the attempt is, from 0 to 1."""

    fraction: float


class JobSucceeded(Event, frozen=True, kw_only=True, tag="succeeded"):
    """The attempt made its output. The files' keys lie under outputs/<job>/<token>/."""

    output: Output
    predict_time: float  # seconds in the engine
    logs: str = ""


class JobFailed(Event, frozen=True, kw_only=True, tag="failed"):
    """The job will not succeed. `code` is stable; `error` is a sentence for the user."""

    code: str
    error: str
    logs: str = ""


class JobCanceled(Event, frozen=True, kw_only=True, tag="canceled", omit_defaults=True):
    """The attempt stopped because its job was canceled, or came too late to begin."""

    code: str = CANCELED


JobEnd = JobSucceeded | JobFailed | JobCanceled
JobEvent = JobStarted | JobReleased | JobProgress | JobSucceeded | JobFailed | JobCanceled


class WorkerState(StrEnum):
    """What a running consumer does."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"  # the model could not be loaded; `reason` says why
    STOPPED = "stopped"


class WorkerHeartbeat(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="heartbeat"):
    """How one worker is; sent on every change of state and every HEARTBEAT_SECONDS."""

    worker: str
    model: str
    state: WorkerState
    at: float
    host: str
    pid: int
    reason: str = ""
    device: str = ""
    running: tuple[str, ...] = ()  # job ids in the engine now
    metrics_port: int | None = None
    jobs: int = 0  # run since it started
    busy: float = 0.0  # seconds of them, inputs being fetched included
    moved_at: float = 0.0  # when a job of it got further or ended, last
    memory: int = 0  # bytes that its processes hold, without files that are mapped


class JobUpdate(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="update"):
    """A job changed in the ledger, and is now at `sequence`."""

    job: str
    owner: str
    state: JobState
    sequence: int
    model: str = ""
    at: float = 0.0  # when it changed; 0 if that is not known
    started_at: float | None = None  # of the latest attempt
    predict_time: float | None = None  # seconds in the engine, of a job that succeeded
    progress: float | None = None  # 0 to 1, of the running attempt
    worker: str = ""  # who runs it, where this update knows
    error_code: str = ""  # of a job that failed or was canceled


class CancelJob(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="cancel"):
    """Stop working on this job: the ledger has ended it already."""

    job: str
    at: float


Message = JobEvent | WorkerHeartbeat | JobUpdate | CancelJob
