"""What was seen, as rows of the page's tables. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cli.dead_letters import Group
from cli.monitoring.amounts import UNKNOWN, ago, count, end_of, span, start_of
from cli.monitoring.source import Failure, Model, Seen, Worker

WIDE = 110  # columns of a terminal that has room for reasons and whole ids


@dataclass(frozen=True, slots=True)
class Column:
    """A column so many characters wide; numbers stand at the right."""

    title: str
    width: int
    right: bool = False

    def fit(self, text: str) -> str:
        fitted = start_of(text, self.width)
        return fitted.rjust(self.width) if self.right else fitted.ljust(self.width)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows by a key that stays the same while what they tell changes; each belongs to a model."""

    columns: tuple[Column, ...]
    rows: dict[str, tuple[str, ...]] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)  # by key of the row
    empty: str = ""  # said where there is no row

    def add(self, key: str, model: str, cells: Sequence[str]) -> None:
        fitted = (column.fit(cell) for column, cell in zip(self.columns, cells, strict=True))
        self.rows[key], self.models[key] = tuple(fitted), model


def models_of(seen: Seen, wanted: str, width: int) -> Table:
    """The models that have something to tell first, in each half as in the catalogue."""
    shown = [each for each in seen.activity.models if wanted in each.id.lower()]
    columns = _model_columns(shown, width)
    table = Table(
        columns,
        empty=f"No model has {wanted!r} in its name." if wanted else "There are no models.",
    )
    workers = Counter((each.model, each.state) for each in seen.activity.workers)
    for each in sorted(shown, key=lambda each: not _busy(each)):
        here = workers[each.id, each.state]
        state = f"{here} {each.state}" if here else each.state
        cells = (end_of(each.id, columns[0].width), state, *_numbers(each), each.reason)
        table.add(each.id, each.id, cells[: len(columns)])
    return table


def _model_columns(models: Sequence[Model], width: int) -> tuple[Column, ...]:
    fixed = (
        Column("state", 9),
        Column("high", 4, right=True),
        Column("normal", 6, right=True),
        Column("low", 4, right=True),
        Column("run", 4, right=True),
        Column("done", 8, right=True),
        Column("per job", 7, right=True),
        Column("drain", 6, right=True),
    )
    room = _room(width, fixed, 1)
    if width < WIDE:
        return (Column("model", room), *fixed)
    name = min(max((len(each.id) for each in models), default=0) + 1, room - 20)
    return (Column("model", name), *fixed, Column("why jobs wait", room - name - 1))


def workers_of(seen: Seen, wanted: str, width: int) -> Table:
    """Every worker."""
    fixed = (
        Column("state", 7),
        Column("device", 7),
        Column("done", 5, right=True),
        Column("heard", 6, right=True),
    )
    room = _room(width, fixed, 3)
    running = 36 if width >= WIDE else 12
    named = (room - running) * 4 // 10
    columns = (Column("worker", named), Column("model", room - running - named), *fixed)
    table = Table(
        (*columns, Column("running", running)),
        empty="No worker runs. The scaler starts one when a job comes.",
    )
    for each in seen.activity.workers:
        if wanted not in each.model.lower():
            continue
        heard = ago((seen.activity.at - each.heard_at).total_seconds())
        cells = (
            end_of(each.id, columns[0].width),
            end_of(each.model, columns[1].width),
            each.state,
            each.device or UNKNOWN,
            count(each.done),
            heard,
            running_of(each, running),
        )
        table.add(each.id, each.model, cells)
    return table


def failures_of(seen: Seen, wanted: str, width: int) -> Table:
    """By model and cause, the latest first: those of the last hour, and all dead letters."""
    fixed = (
        Column("in 1 h", 6, right=True),
        Column("dead", 5, right=True),
        Column("latest", 6, right=True),
    )
    room = _room(width, fixed, 3)
    cause = 16
    named = min(max((room - cause) // 2, 12), 40)
    columns = (Column("model", named), Column("cause", cause), *fixed)
    table = Table(
        (*columns, Column("its error", room - cause - named)),
        empty="Nothing has failed in the last hour, and no dead letter waits.",
    )
    for each in kinds_of(seen):
        if wanted not in each.model.lower():
            continue
        cells = (
            end_of(each.model, named),
            each.cause or UNKNOWN,
            count(each.lately),
            count(each.dead),
            ago((seen.activity.at - each.last_at).total_seconds()),
            each.error,
        )
        table.add(f"{each.model} {each.cause}", each.model, cells)
    return table


@dataclass(frozen=True, slots=True)
class Kind:
    """Failures of one model with one cause."""

    model: str
    cause: str
    lately: int  # in the last hour
    dead: int | None  # dead letters that wait; None: unknown
    last_at: datetime
    last_prediction: str
    error: str


def kinds_of(seen: Seen) -> list[Kind]:
    """The latest first."""
    lately = {(each.model, each.cause): each for each in seen.activity.failures}
    letters = {(each.model, each.cause): each for each in seen.letters or ()}
    kinds = [
        _kind(lately.get(key), letters.get(key), seen) for key in dict.fromkeys([*lately, *letters])
    ]
    return sorted(kinds, key=lambda kind: kind.last_at, reverse=True)


def running_of(worker: Worker, width: int) -> str:
    """The job that it runs, or how many where that is not one of ours."""
    if len(worker.predictions) == 1 == worker.running:
        return end_of(worker.predictions[0], width)
    if worker.running:
        return f"{worker.running} {'job' if worker.running == 1 else 'jobs'}"
    return "nothing"


def _kind(lately: Failure | None, letters: Group | None, seen: Seen) -> Kind:
    newest = letters.sample.id if letters else ""
    last_at = datetime.fromisoformat(letters.last_failed_at) if letters else None
    error = letters.sample.error if letters else ""
    if lately and (last_at is None or lately.last_at >= last_at):
        last_at, newest = lately.last_at, lately.last_prediction
        error = seen.errors.get(newest, error)
    known = lately or letters
    assert known is not None
    assert last_at is not None
    return Kind(
        model=known.model,
        cause=known.cause,
        lately=lately.count if lately else 0,
        dead=None if seen.letters is None else letters.count if letters else 0,
        last_at=last_at,
        last_prediction=newest,
        error=error,
    )


def _numbers(model: Model) -> tuple[str, ...]:
    waiting = model.waiting
    priorities = (waiting.high, waiting.normal, waiting.low) if waiting else (None, None, None)
    return (
        *(count(number) for number in priorities),
        count(model.running),
        f"{count(model.done_last_minute)}/min",
        span(model.seconds_per_job),
        span(model.drain_seconds),
    )


def _room(width: int, fixed: Sequence[Column], others: int) -> int:
    """What is left for so many other columns; a space follows each column."""
    return max(width - sum(column.width + 1 for column in fixed) - others, 12 * others)


def _busy(model: Model) -> bool:
    work = model.running + (model.waiting.jobs if model.waiting else 0) + model.failed_last_hour
    return bool(work) or model.state != "off"
