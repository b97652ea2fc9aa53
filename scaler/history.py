"""What a scaler remembers of a model between two rounds. Pure: the clock is passed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scaler.launchers import Launched

SETTLED_SECONDS = 30.0  # a consumer that outlives the one that failed by this ends the row


@dataclass(slots=True)
class History:
    """Failures in a row, and since when there was nothing to do. Times are seconds."""

    idle_since: float
    failures: int = 0
    failed_at: float = 0.0
    started_at: float = 0.0  # the newest consumer
    lived: float = 0.0  # how long the one lived that failed last
    done: int | None = None  # jobs finished, by the log's count; None: not known yet

    def start(self, now: float) -> None:
        """A consumer is being started."""
        self.started_at = now

    def fail(self, now: float) -> None:
        """A consumer died, or could not be started."""
        self.failures += 1
        self.failed_at = now
        self.lived = now - self.started_at

    def look(
        self, lag: int | None, launched: Sequence[Launched], now: float, done: int | None = None
    ) -> None:
        """Take in what a round sees of the model. `done` only ever grows while the log lives."""
        if lag:
            self.idle_since = now
        # A large model may fail only after minutes of loading: being alive is no success yet. One
        # that does its work and is killed from time to time, however, is in no row of failures.
        settled = now > self.started_at + self.lived + SETTLED_SECONDS
        worked = done is not None and self.done is not None and done > self.done
        if (settled or worked) and any(one.works for one in launched):
            self.failures, self.lived = 0, 0.0
        if done is not None:
            self.done = done
        for _ in (one for one in launched if one.failed):
            self.fail(now)
