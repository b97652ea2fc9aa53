"""What the notifier counts: attempts, and what came of them."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

from api.database.deliveries import Outcome
from common.exposing import new_registry

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)


class NotifierMetrics:
    """Of one notifier."""

    def __init__(self) -> None:
        self.registry = new_registry()
        self._attempts = Counter(
            "darkroom_notifier_attempts",
            "Attempts to deliver, by how the delivery stands after them",
            ("state",),
            registry=self.registry,
        )
        for state in ("delivered", "pending", "exhausted"):
            self._attempts.labels(state)  # so that its first is a growth
        self._durations = Histogram(
            "darkroom_notifier_attempt_duration_seconds",
            "From the connection to the end of the reply",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._taken = Gauge(
            "darkroom_notifier_deliveries_taken",
            "Deliveries being sent, or waiting here for their turn",
            registry=self.registry,
        )

    def attempted(self, outcome: Outcome) -> None:
        """Count an attempt."""
        self._attempts.labels(outcome.state).inc()
        self._durations.observe(outcome.seconds)

    def count_taken(self, count: Callable[[], int]) -> None:
        """Ask `count` at each scrape."""
        self._taken.set_function(count)
