"""How fast each model works, measured on the jobs that end. Pure."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field

from common.events import JobUpdate
from common.job import JobState

MOST_SAMPLES = 64  # of a model: the last ones say how fast it is
_MEASURED = (JobState.SUCCEEDED, JobState.FAILED)  # a canceled job took as long as one let it


@dataclass(slots=True)
class _Model:
    """What was seen of one model."""

    last_end: float = 0.0  # seconds since the epoch
    samples: OrderedDict[str, float] = field(default_factory=OrderedDict)  # job id -> seconds


class Rates:
    """Seconds of one worker per job, for each model.

    A sample is the time since the job before it ended, times the workers, or the time since the
    job's own start, whichever is shorter: the first is right while there is a queue, the second
    where a worker had nothing to do before.
    """

    def __init__(self) -> None:
        self._models: defaultdict[str, _Model] = defaultdict(_Model)

    def take(self, update: JobUpdate, workers: int) -> None:
        """A job changed while its model had so many workers. One told twice counts once."""
        model = self._models[update.model]
        if (
            update.state not in _MEASURED
            or update.started_at is None
            or update.job in model.samples
        ):
            return
        since_last = max(update.at - model.last_end, 0.0) * max(workers, 1)
        since_start = max(update.at - update.started_at, 0.0)
        model.samples[update.job] = min(since_last, since_start)
        model.last_end = max(model.last_end, update.at)
        if len(model.samples) > MOST_SAMPLES:
            model.samples.popitem(last=False)

    def seconds_per_job(self, model: str) -> float | None:
        """Of one worker; None while no job of the model was seen to end."""
        samples = self._models[model].samples if model in self._models else None
        return sum(samples.values()) / len(samples) if samples else None
