"""What the scaler shows to Prometheus: what it saw and decided last, and what it counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from common.events import WorkerHeartbeat
from common.exposing import new_registry
from scaler.observation import Alert, Decision, ModelSeen

# A worker that fell silent without saying that it stops is shown for so long.
SHOWN_SECONDS = 600.0

Workers = Callable[[], Collection[WorkerHeartbeat]]


@dataclass(frozen=True, slots=True)
class _Round:
    """One model in the latest round."""

    seen: ModelSeen
    decision: Decision
    now: float


class Exposed(Collector):
    """Each scrape shows the latest round; what was not known in it is not shown."""

    def __init__(self, slots: int = 0, clock: Callable[[], float] = time.time) -> None:
        self.registry = new_registry()
        self._slots = slots
        self._clock = clock
        self._latest: Sequence[_Round] = ()
        self.workers: Workers = tuple  # the latest heartbeats
        self._leads = False
        self._log_up: bool | None = None
        self._rounds = Counter(
            "darkroom_scaler_rounds", "Rounds of looking and deciding", registry=self.registry
        )
        self._changes = Counter(
            "darkroom_scaler_changes",
            "Decisions for more (up) or fewer (down) consumers than there were",
            ("model", "direction"),
            registry=self.registry,
        )
        self._failures = Counter(
            "darkroom_scaler_consumer_failures",
            "Consumers that died, or could not be started",
            ("model",),
            registry=self.registry,
        )
        self.registry.register(self)

    def follow(self, workers: Workers) -> None:
        """Ask `workers` for the latest heartbeats, at each scrape and in its thread."""
        self.workers = workers

    def saw(self, seen: Sequence[ModelSeen], decisions: Sequence[Decision], now: float) -> None:
        """Take in a round: the models, and one decision for each, in the same order."""
        self._latest = [
            _Round(model, decision, now) for model, decision in zip(seen, decisions, strict=True)
        ]
        self._rounds.inc()
        self._log_up = all(model.lag is not None for model in seen)
        for model in seen:
            self._failures.labels(model.model)  # so that its first is a growth

    def saw_nothing(self, *, log: bool) -> None:
        """A round was passed over; `log` says whether the log answered."""
        self._latest, self._log_up = (), log

    def changed(self, decision: Decision, consumers: int) -> None:
        """Count a decision that is carried out, where there were `consumers`."""
        if decision.consumers != consumers:
            direction = "up" if decision.consumers > consumers else "down"
            self._changes.labels(decision.model, direction).inc()

    def failed(self, model: str) -> None:
        """Count a consumer that died or could not be started."""
        self._failures.labels(model).inc()

    def set_leader(self, leads: bool) -> None:
        """Whether this scaler is the one that acts. One that does not shows no models."""
        self._leads = leads
        if not leads:
            self._latest, self._log_up = (), None

    def collect(self) -> Iterator[Metric]:
        """At each scrape, in a thread of the server's."""
        latest = self._latest
        yield _gauge("darkroom_scaler_leader", "Whether this scaler acts", float(self._leads))
        yield _gauge("darkroom_scaler_slots", "Consumers that may run here at once", self._slots)
        used = sum(each.seen.consumers + each.seen.stopping for each in latest)
        yield _gauge("darkroom_scaler_slots_used", "Slots that are held", used)
        if self._log_up is not None:
            up = GaugeMetricFamily(
                "darkroom_dependency_up",
                "Whether it answered this process when asked last",
                labels=["dependency"],
            )
            up.add_metric(["log"], float(self._log_up))
            yield up
        yield from _of_models(latest)
        yield self._flags("poison", "Consumers run, and no job gets further", Alert.POISON)
        yield self._flags("breaker_open", "Its consumers crash in a loop", Alert.BREAKER)
        yield self._silence()

    def _flags(self, name: str, documentation: str, alert: Alert) -> Metric:
        values = ((r.seen.model, float(r.decision.alert is alert)) for r in self._latest)
        return _by_model(name, documentation, values)

    def _silence(self) -> Metric:
        family = GaugeMetricFamily(
            "darkroom_worker_heartbeat_age_seconds",
            "Since it was last heard of; a worker that said that it stops is not shown",
            labels=["model", "worker", "state"],
        )
        now = self._clock()
        for last in self.workers():
            age = max(now - last.at, 0.0)
            if age <= SHOWN_SECONDS:
                family.add_metric([last.model, last.worker, last.state.value], age)
        return family


def _of_models(latest: Sequence[_Round]) -> Iterator[Metric]:
    values: dict[str, tuple[str, Callable[[_Round], float | None]]] = {
        "consumers_wanted": ("Consumers that there should be", lambda r: r.decision.consumers),
        "consumers_alive": ("Consumers that run, and do not stop", lambda r: r.seen.consumers),
        "consumers_ready": ("Of these, with their model loaded", lambda r: r.seen.ready),
        "consumers_stopping": ("Consumers that finish their job", lambda r: r.seen.stopping),
        "consumers_max": ("The most that it may have", lambda r: r.seen.rules.maximum),
        "target_seconds": ("In which what waits should be done", lambda r: r.seen.rules.target),
        "drain_seconds": ("In which what waits will be done, by those ready", _drain),
        "unserved_seconds": ("For which work has waited without a ready consumer", _unserved),
        "seconds_per_job": ("Of a job in one consumer", lambda r: r.seen.seconds_per_job),
        "cold_start_seconds": ("From a start until it is ready", lambda r: r.seen.cold_start),
        "arrivals_per_second": ("Jobs that arrive", lambda r: r.seen.arrivals),
    }
    for name, (documentation, value) in values.items():
        yield _by_model(name, documentation, ((r.seen.model, value(r)) for r in latest))
    lag = GaugeMetricFamily(
        "darkroom_scaler_lag_jobs",
        "Jobs not finished, those being worked on included, by the log",
        labels=["model", "priority"],
    )
    for each in latest:
        for priority, jobs in (each.seen.lag._asdict() if each.seen.lag else {}).items():
            lag.add_metric([each.seen.model, priority], jobs)
    yield lag


def _drain(each: _Round) -> float | None:
    seen = each.seen
    if seen.lag is None or seen.seconds_per_job is None:
        return None
    return seen.lag.jobs * seen.seconds_per_job / max(seen.ready, 1)


def _unserved(each: _Round) -> float | None:
    return None if each.seen.lag is None else max(each.now - each.seen.unserved_since, 0.0)


def _by_model(name: str, documentation: str, values: Iterable[tuple[str, float | None]]) -> Metric:
    family = GaugeMetricFamily(f"darkroom_scaler_{name}", documentation, labels=["model"])
    for model, value in values:
        if value is not None:
            family.add_metric([model], value)
    return family


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)
