"""The page itself: asks the server, and shows what it said.

Another table is another Panel in `Overview.compose`, and its rows in `Overview.show`.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.events import Resize
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, Input, Static

from cli.client import Client
from cli.errors import CommandFailed, NotAllowed
from cli.exit_codes import ExitCode
from cli.monitoring.amounts import start_of
from cli.monitoring.contact import Contact
from cli.monitoring.details import Details
from cli.monitoring.panels import Panel
from cli.monitoring.rows import failures_of, models_of, workers_of
from cli.monitoring.source import Source

EVERY_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 5.0  # between two questions to a server that does not answer
_HELP = """\
Models
  state    how many workers are ready, or loading; off: none runs;
           failed: the model does not load (Enter says why)
  high normal low   jobs that wait, by priority
  run      jobs that run now
  done     jobs that succeeded or failed in the last minute
  per job  time of one worker for one job
  drain    how long all that waits and runs takes with these workers
Workers
  done     jobs since its start    heard   since its last heartbeat
Failures   of the last hour, and all dead letters (dead), by cause
  ?        is not known

k thousand   M million   ms s min h d   milliseconds ... days

arrows, Page Up/Down  move       Tab   next table
Enter  all about a model         /     only models with these letters
p      pause and go on           Esc   back; all models
q      quit"""


class Help(ModalScreen[None]):
    """What the page's words mean."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,question_mark,q", "dismiss", "Back")
    ]

    def compose(self) -> ComposeResult:
        yield Static(Text(_HELP), id="help")


class Overview(Screen[None]):
    """Models, workers and failures."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("p", "app.pause", "Pause"),
        Binding("escape", "unfilter", show=False),
    ]
    AUTO_FOCUS = "#models Rows"

    def __init__(self, contact: Contact) -> None:
        super().__init__()
        self._contact = contact
        self._wanted = ""

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        yield Panel("Models", id="models")
        yield Panel("Workers", id="workers")
        yield Panel("Failures", id="failures")
        yield Input(placeholder="letters of the model's name; Enter keeps, Esc clears", id="filter")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(Input).display = False

    def on_resize(self, event: Resize) -> None:
        self.show(head_of(self._contact, event.size.width), event.size.width)

    def show(self, head: Text, width: int) -> None:
        """What is known now."""
        self.query_one("#head", Static).update(head)
        seen = self._contact.seen
        if seen is None:
            return
        models = models_of(seen, self._wanted, width - 1)  # beside a scroll bar
        for id, table in (
            ("models", models),
            ("workers", workers_of(seen, self._wanted, width - 1)),
            ("failures", failures_of(seen, self._wanted, width - 1)),
        ):
            self.query_one(f"#{id}", Panel).show(table)
            self.query_one(f"#{id}").set_class(self._contact.stale, "stale")
        if self.focused is None:  # the table that had it had no row any more
            self.query_one("#models", Panel).table.focus()
        everything = len(seen.activity.models)
        self.query_one("#models").border_title = (
            f"Models with {self._wanted!r} ({len(models.rows)} of {everything})"
            if self._wanted
            else f"Models ({everything})"
        )

    def action_filter(self) -> None:
        field = self.query_one(Input)
        field.display = True
        field.focus()

    def action_unfilter(self) -> None:
        self.query_one(Input).value = ""
        self._leave_filter()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._wanted = event.value.strip().lower()
        self.show(head_of(self._contact, self.size.width), self.size.width)

    def on_input_submitted(self) -> None:
        self._leave_filter()

    def _leave_filter(self) -> None:
        self.query_one(Input).display = False
        self.query_one("#models", Panel).table.focus()


class Page(App[ExitCode | CommandFailed]):
    """Ends with an exit code, or with why the server lets nobody in."""

    TITLE = "darkroom monitor"
    CSS_PATH = "page.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "leave", "Quit"),
        Binding("ctrl+c", "interrupt", show=False, priority=True),
    ]

    def __init__(self, client: Client, address: str) -> None:
        super().__init__()
        self.contact = Contact(address)
        self._source = Source(client)
        self._going = asyncio.Event()
        self._going.set()

    def get_default_screen(self) -> Overview:
        return Overview(self.contact)

    def on_mount(self) -> None:
        self.run_worker(self._follow())
        self.set_interval(1.0, self.show)  # the head says how old its numbers are

    def show(self) -> None:
        """What is known now, on the screen that is in front."""
        width = self.size.width
        head = head_of(self.contact, width)
        for screen in self.screen_stack:
            with suppress(NoMatches):  # it is being built up, or taken down
                if isinstance(screen, Overview):
                    screen.show(head, width)
                elif isinstance(screen, Details):
                    screen.show(head)

    def on_panel_chosen(self, event: Panel.Chosen) -> None:
        self.push_screen(Details(event.model, self.contact))
        self.call_after_refresh(self.show)

    def action_help(self) -> None:
        self.push_screen(Help())

    def action_pause(self) -> None:
        self.contact.paused = not self.contact.paused
        if self.contact.paused:
            self._going.clear()
        else:
            self._going.set()
        self.show()

    def action_leave(self) -> None:
        self.exit(ExitCode.OK)

    def action_interrupt(self) -> None:
        self.exit(ExitCode.INTERRUPTED)

    async def _follow(self) -> None:
        """Ask again and again, never twice at once, and less of a server that is slow or gone."""
        pause = EVERY_SECONDS
        while True:
            await self._going.wait()
            began = time.monotonic()
            try:
                seen = await self._source.look()
            except NotAllowed as error:
                self.exit(error)
                return
            except CommandFailed as error:
                self.contact.failed(str(error), time.time())
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                self.contact.answered(seen, time.time())
                took = time.monotonic() - began
                pause = max(EVERY_SECONDS - took, took)
            self.show()
            await asyncio.sleep(pause)


def head_of(contact: Contact, width: int) -> Text:
    """Two lines."""
    lines = contact.lines(time.time())
    return Text("\n".join(start_of(line, width) for line in lines), no_wrap=True)
