"""What the recorder's process counts: events, ends of jobs, and what the sweeper appends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import Counter

from common.events import JobUpdate
from common.exposing import new_registry
from common.job import JobState


class RecorderMetrics:
    """Of the recorder and of the sweeper, which share a process."""

    def __init__(self, models: Iterable[str] = ()) -> None:
        self.registry = new_registry()
        self.events = Counter("darkroom_recorder_events", "Events recorded", registry=self.registry)
        self.rejected = Counter(
            "darkroom_recorder_events_rejected",
            "Events that could not be applied, and were kept for inspection",
            registry=self.registry,
        )
        self._ended = Counter(
            "darkroom_recorder_jobs_ended",
            "Jobs that ended by what a consumer told",
            ("model", "state"),
            registry=self.registry,
        )
        for model in models:
            for state in JobState:
                if state.terminal:
                    self._ended.labels(model, state.value)  # so that its first is a growth
        self.appended = Counter(
            "darkroom_sweeper_jobs_appended",
            "Jobs appended again, since the log had lost them",
            registry=self.registry,
        )
        self.rounds = Counter(
            "darkroom_sweeper_rounds", "Rounds that saw all that waits", registry=self.registry
        )

    def recorded(self, events: int, updates: Sequence[JobUpdate]) -> None:
        """Count a batch that the ledger has, and what it changed."""
        self.events.inc(events)
        for update in updates:
            if update.state.terminal:
                self._ended.labels(update.model, update.state.value).inc()
