"""A job: what was asked (JobSpec), and what became of it (Job)."""

from __future__ import annotations

from enum import StrEnum

import msgspec

Parameter = str | int | float | bool | None
JsonObject = dict[str, object]


class Priority(StrEnum):
    """How urgent a job is. Each model has one topic per priority."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def weight(self) -> int:
        """Jobs taken of this priority for each 12 taken while all three have some waiting."""
        return {"high": 8, "normal": 3, "low": 1}[self.value]


class JobState(StrEnum):
    """Where a job stands. `starting` includes waiting in the queue."""

    STARTING = "starting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED})

# The only moves there are. A terminal state never changes.
TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.STARTING: frozenset({JobState.PROCESSING}) | TERMINAL,
    JobState.PROCESSING: frozenset({JobState.STARTING}) | TERMINAL,
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELED: frozenset(),
}


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked. This travels on the log; its key there is the job's id."""

    model: str
    priority: Priority = Priority.NORMAL
    parameters: dict[str, Parameter] = {}  # prompt, strength, …; checked against the task's schema
    inputs: dict[str, str] = {}  # name of the input ("image") -> object key, or https:// URL
    start_by: float | None = None  # seconds since the epoch; unstarted then, it is canceled


def is_url(reference: str) -> bool:
    """Whether an input is what a user's URL leads to; otherwise it is an object's key."""
    return "://" in reference


class OutputFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that a run made, as it lies in the object store."""

    key: str  # outputs/<job>/<attempt token>/<n>.<extension>
    content_type: str
    size: int  # bytes


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """What a successful run made: a text of at most 20 kB, or files, or both."""

    text: str | None = None
    files: tuple[OutputFile, ...] = ()


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job as the ledger knows it. Times are seconds since the epoch, UTC."""

    id: str
    owner: str
    spec: JobSpec
    version: str
    link_token: str  # 128 random bits as hex; the secret half of the access link
    created_at: float
    state: JobState = JobState.STARTING
    lane: Priority | None = None  # whose topic carries it, if not that of its own priority
    sequence: int = 0  # rises with every visible change
    attempt: int = 0  # how many times a consumer started it
    progress: float | None = None  # 0 to 1, of the running attempt
    started_at: float | None = None  # of the latest attempt; of the winning one once it ended
    completed_at: float | None = None
    predict_time: float | None = None  # seconds in the engine, of the winning attempt
    output: Output | None = None
    error: str | None = None
    error_code: str | None = None
    logs: str = ""
    labels: tuple[str, ...] = ()
    metadata: JsonObject = {}
    group_id: str | None = None
    cancel_at: float | None = None  # not ended then, it is canceled
    retry_of: str | None = None  # the job that this one runs once more
    reused_from: str | None = None  # the job whose result this one took over
    reuse_key: str | None = None  # same key, same result; None where that is not sure
    webhook: str | None = None  # where this job's own webhooks go
    webhook_events: tuple[str, ...] = ()  # which; empty: those that the API's default names
    traceparent: str | None = None  # of the request that made it: its work and its webhooks go on
    dead_letter: str | None = None  # waiting, replayed or discarded, if it failed for good
    removed_at: float | None = None  # when its inputs and results were removed
    # Where the log holds it, as far as is known.
    log_topic: str | None = None
    log_partition: int | None = None
    log_offset: int | None = None
