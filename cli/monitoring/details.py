"""One model in full: the page that Enter opens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from cli.monitoring.amounts import ago, count, span
from cli.monitoring.contact import Contact
from cli.monitoring.rows import Kind, kinds_of
from cli.monitoring.source import Model, Seen, Worker


class Details(Screen[None]):
    """Shows what the page knows already: opening it asks the server for nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter", "app.pop_screen", "Back")]
    AUTO_FOCUS = "#whole"

    def __init__(self, model: str, contact: Contact) -> None:
        super().__init__()
        self._model, self._contact = model, contact

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        with VerticalScroll(id="whole"):
            yield Static(id="text")
        yield Footer(show_command_palette=False)

    def show(self, head: Text) -> None:
        """What is known now."""
        self.query_one("#head", Static).update(head)
        seen = self._contact.seen
        if seen is not None:
            lines = Text("\n").join(Text(line) for line in details_of(self._model, seen))
            self.query_one("#text", Static).update(lines)


def details_of(name: str, seen: Seen) -> Iterator[str]:
    """Lines about a model."""
    yield name
    yield ""
    model = next((each for each in seen.activity.models if each.id == name), None)
    if model is None:
        yield "  The server does not have this model any more."
    else:
        yield from _model(model)
    workers = [each for each in seen.activity.workers if each.model == name]
    yield ""
    yield "Workers" if workers else "No worker runs."
    for worker in workers:
        yield from _worker(worker, seen)
    failures = [each for each in kinds_of(seen) if each.model == name]
    yield ""
    yield "Failures" if failures else "Nothing has failed in the last hour, no dead letter waits."
    for kind in failures:
        yield from _failure(kind, seen)


def _model(model: Model) -> Iterator[str]:
    waiting = model.waiting
    yield f"  state     {model.state}" + (f": {model.reason}" if model.reason else "")
    if waiting is None:
        yield "  waiting   unknown: the server cannot count them now"
    else:
        yield (
            f"  waiting   {waiting.jobs:,} ({waiting.high:,} high, {waiting.normal:,} normal, "
            f"{waiting.low:,} low)"
        )
    yield f"  running   {model.running:,}"
    yield f"  done      {model.done_last_minute:,} in the last minute"
    yield f"  failed    {model.failed_last_hour:,} in the last hour, everyone's"
    yield f"  per job   {_known(model.seconds_per_job)} in one worker"
    yield f"  drain     {_known(model.drain_seconds)} for all that waits and runs"


def _worker(worker: Worker, seen: Seen) -> Iterator[str]:
    heard = ago((seen.activity.at - worker.heard_at).total_seconds())
    yield f"  {worker.id}"
    yield (
        f"    {worker.state} on {worker.host}, device {worker.device or 'unknown'}, "
        f"{worker.done:,} jobs done, heard {heard} ago"
    )
    for prediction in worker.predictions:
        yield f"    runs {prediction}"
    if others := worker.running - len(worker.predictions):
        yield f"    runs {others:,} that this key may not see"


def _failure(kind: Kind, seen: Seen) -> Iterator[str]:
    latest = ago((seen.activity.at - kind.last_at).total_seconds())
    cause = kind.cause or "unknown cause"
    yield f"  {cause}: {kind.lately:,} in the last hour, latest {latest} ago"
    yield f"    {kind.last_prediction}  {kind.error}"
    if kind.dead:
        yield f"    {count(kind.dead)} wait as dead letters: darkroom dead-letters --help"


def _known(seconds: float | None) -> str:
    return "not known yet," if seconds is None else span(seconds)
