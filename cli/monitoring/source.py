"""What the page shows, asked of the server: one small request a second, the rest every five."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from cli.client import Client, Prediction
from cli.dead_letters import PATH as DEAD_LETTERS
from cli.dead_letters import Group, Groups
from cli.errors import ItemFailed, ServerUnavailable

ANSWER_SECONDS = 5.0  # that an answer may take
SLOW_SECONDS = 5.0  # between two looks at what costs more, or changes less
MOST_ERRORS = 3  # that are read of jobs at each of these


class Waiting(msgspec.Struct, frozen=True):
    """Jobs by priority."""

    high: int
    normal: int
    low: int

    @property
    def jobs(self) -> int:
        return self.high + self.normal + self.low


class Model(msgspec.Struct, frozen=True):
    """One model; None is what the server does not know."""

    id: str
    state: str
    reason: str
    waiting: Waiting | None
    running: int
    done_last_minute: int
    failed_last_hour: int
    seconds_per_job: float | None
    drain_seconds: float | None


class Worker(msgspec.Struct, frozen=True):
    """A running consumer."""

    id: str
    model: str
    state: str
    device: str
    host: str
    running: int
    predictions: list[str]
    done: int
    heard_at: datetime


class Failure(msgspec.Struct, frozen=True):
    """Failures of the last hour with one cause."""

    model: str
    cause: str
    count: int
    last_at: datetime
    last_prediction: str


class Activity(msgspec.Struct, frozen=True):
    """The server's answer; its clock says `at`."""

    at: datetime
    since: datetime
    models: list[Model]
    workers: list[Worker]
    failures: list[Failure]


@dataclass(frozen=True, slots=True)
class Seen:
    """All that one look found."""

    activity: Activity
    unready: str  # why the server accepts no jobs; empty if it does
    letters: list[Group] | None  # dead letters; None: the server could not tell
    errors: dict[str, str] = field(default_factory=dict)  # of failed predictions, by id


class Source:
    """Looks at one server. Nothing is asked twice: a look that fails is only not there."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._slow_at = -SLOW_SECONDS
        self._unready = ""
        self._letters: list[Group] | None = None
        self._errors: dict[str, str] = {}

    async def look(self) -> Seen:
        """As it is now. Raises NotAllowed, and ServerUnavailable with the reason alone."""
        try:
            activity = await self._client.ask_once(Activity, "/v1/activity", seconds=ANSWER_SECONDS)
        except ItemFailed as error:
            raise ServerUnavailable(f"no Darkroom server, or an older one: {error}") from error
        if time.monotonic() >= self._slow_at + SLOW_SECONDS:
            self._unready, self._letters = await asyncio.gather(self._ready(), self._groups())
            await self._read_errors(activity.failures)
            self._slow_at = time.monotonic()
        return Seen(activity, self._unready, self._letters, dict(self._errors))

    async def _ready(self) -> str:
        try:
            await self._client.ask_once(dict[str, object], "/readyz", seconds=ANSWER_SECONDS)
        except (ServerUnavailable, ItemFailed) as error:
            return str(error)
        return ""

    async def _groups(self) -> list[Group] | None:
        try:
            path = f"{DEAD_LETTERS}/groups"
            found = await self._client.ask_once(Groups, path, seconds=ANSWER_SECONDS)
        except (ServerUnavailable, ItemFailed):
            return None
        return found.results

    async def _read_errors(self, failures: list[Failure]) -> None:
        """The sentences of the latest failures; those that are no more shown are forgotten."""
        known = {group.sample.id: group.sample.error for group in self._letters or ()}
        wanted = [each.last_prediction for each in failures]
        self._errors = {id: self._errors[id] for id in wanted if id in self._errors}
        self._errors |= {id: known[id] for id in wanted if id in known}
        for id in [id for id in wanted if id not in self._errors][:MOST_ERRORS]:
            try:
                path = f"/v1/predictions/{id}"
                job = await self._client.ask_once(Prediction, path, seconds=ANSWER_SECONDS)
            except ServerUnavailable:
                return
            except ItemFailed:  # deleted meanwhile
                self._errors[id] = ""
            else:
                self._errors[id] = job.error or ""
