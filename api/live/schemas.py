"""The bodies of replies about what the server does now."""

from __future__ import annotations

import msgspec


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs that have not started, by the priority that was asked for."""

    high: int
    normal: int
    low: int


class WorkerActivity(msgspec.Struct, frozen=True, kw_only=True):
    """A running consumer. `done` are jobs since it started, told every ten seconds.

    `predictions` are those of the running ones that you may see.
    """

    id: str
    model: str
    state: str
    device: str
    host: str
    running: int
    predictions: list[str]
    done: int
    heard_at: str


class ModelActivity(msgspec.Struct, frozen=True, kw_only=True):
    """What a model does for everyone. Null is what is not known.

    `drain_seconds` is how long all that waits and runs takes, as many workers as there are now.
    """

    id: str
    state: str
    reason: str
    waiting: Waiting | None
    running: int
    done_last_minute: int
    failed_last_hour: int
    seconds_per_job: float | None
    drain_seconds: float | None


class FailureActivity(msgspec.Struct, frozen=True, kw_only=True):
    """Failures of the last hour that you may see, of one model with one cause."""

    model: str
    cause: str
    count: int
    last_at: str
    last_prediction: str


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """What all models and workers do at `at`. What ended before `since` is not in the counts."""

    at: str
    since: str
    models: list[ModelActivity]
    workers: list[WorkerActivity]
    failures: list[FailureActivity]
