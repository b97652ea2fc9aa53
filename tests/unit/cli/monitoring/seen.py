"""What a look at a server found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cli.dead_letters import Group, Letter
from cli.monitoring.source import Activity, Failure, Model, Seen, Waiting, Worker

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def model(name: str, **fields: object) -> Model:
    given = {
        "state": "off",
        "reason": "waiting for a consumer",
        "waiting": Waiting(0, 0, 0),
        "running": 0,
        "done_last_minute": 0,
        "failed_last_hour": 0,
        "seconds_per_job": None,
        "drain_seconds": 0.0,
        **fields,
    }
    return Model(id=name, **given)  # type: ignore[arg-type]


def worker(name: str, model: str, *predictions: str, running: int = 0) -> Worker:
    heard = AT - timedelta(seconds=4)
    here = list(predictions)
    return Worker(name, model, "ready", "cuda:0", "host", len(here) or running, here, 7, heard)


def failure(model: str, cause: str, ago: float, id: str, count: int = 1) -> Failure:
    return Failure(model, cause, count, AT - timedelta(seconds=ago), id)


def letters(model: str, cause: str, ago: float, id: str, count: int = 1) -> Group:
    at = (AT - timedelta(seconds=ago)).isoformat()
    return Group(model, cause, count, at, at, Letter(id, model, cause, f"of {id}", 3, at))


def seen(
    *models: Model,
    workers: tuple[Worker, ...] = (),
    failures: tuple[Failure, ...] = (),
    dead: list[Group] | None = None,
    unready: str = "",
    errors: dict[str, str] | None = None,
) -> Seen:
    activity = Activity(AT, AT, list(models), list(workers), list(failures))
    return Seen(activity, unready, dead, errors or {})
