"""How the page stands with its server, in the words of the page's head."""

from __future__ import annotations

import time
from dataclasses import dataclass

from cli.monitoring.amounts import ago, count
from cli.monitoring.source import Seen

LATE_SECONDS = 2.5  # without news; below it nothing is said


@dataclass(slots=True)
class Contact:
    """The last good answer, and what has become of the server since. Times are `time.time()`."""

    address: str
    seen: Seen | None = None
    seen_at: float = 0.0
    failing_since: float | None = None
    reason: str = ""
    paused: bool = False

    def answered(self, seen: Seen, now: float) -> None:
        self.seen, self.seen_at, self.failing_since = seen, now, None

    def failed(self, reason: str, now: float) -> None:
        self.failing_since = self.failing_since or now
        self.reason = reason

    @property
    def stale(self) -> bool:
        """Whether what is shown is known to be old."""
        return self.failing_since is not None

    def lines(self, now: float) -> tuple[str, str]:
        """How the server is and of when the numbers are; why so, or the sums of all models."""
        condition, why = self._condition(now)
        of = "" if self.seen is None else f" · as of {_clock(self.seen_at)}"
        return f"Darkroom at {self.address} · {condition}{of}", why or self._totals()

    def _condition(self, now: float) -> tuple[str, str]:
        if self.failing_since is not None:
            return f"NO ANSWER since {_clock(self.failing_since)}", self.reason
        if self.paused:
            return "PAUSED", "Nothing is asked: p goes on."
        if self.seen is None:
            return "waiting for the first answer", ""
        if now - self.seen_at > LATE_SECONDS:
            return f"SLOW: no answer for {ago(now - self.seen_at)}", ""
        return ("NOT READY", self.seen.unready) if self.seen.unready else ("ready", "")

    def _totals(self) -> str:
        if self.seen is None:
            return "nothing is known yet"
        models = self.seen.activity.models
        waiting = [each.waiting.jobs for each in models if each.waiting]
        return " · ".join(
            (
                f"waiting {count(sum(waiting) if len(waiting) == len(models) else None)}",
                f"running {count(sum(each.running for each in models))}",
                f"done {count(sum(each.done_last_minute for each in models))}/min",
                f"failed {count(sum(each.failed_last_hour for each in models))}/h",
                f"workers {count(len(self.seen.activity.workers))}",
            )
        )


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
