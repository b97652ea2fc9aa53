"""What this process counts, for Prometheus."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter, Histogram, generate_latest

from common.exposing import new_registry

_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_ETA_BUCKETS = (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)


class Metrics:
    """The application's own registry: HTTP by route template and status, and the process."""

    def __init__(self) -> None:
        self._registry = new_registry()
        self._requests = Counter(
            "http_requests_total",
            "HTTP requests answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._durations = Histogram(
            "http_request_duration_seconds",
            "From the request's head to the end of its reply.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._eta_errors = Histogram(
            "queue_eta_error_seconds",
            "Between the start that a job's first ETA promised and its start.",
            ("model",),
            buckets=_ETA_BUCKETS,
            registry=self._registry,
        )
        # Finding a labelled child costs more than counting in it.
        self._count_of = lru_cache(maxsize=4096)(self._requests.labels)
        self._duration_of = lru_cache(maxsize=1024)(self._durations.labels)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._count_of(method, route, str(status)).inc()
        self._duration_of(method, route).observe(seconds)

    def eta_missed(self, model: str, seconds: float) -> None:
        """Count a job that was given an ETA, and started so much earlier or later."""
        self._eta_errors.labels(model).observe(seconds)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)
