"""Traces: how many jobs of each model and priority arrive in each tick."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import SettingsInvalid
from common.job import Priority

Counts = NDArray[np.int64]
TICK = 0.5  # seconds: a round of the scaler
DAY = 86_400.0
LONGEST = 7 * DAY  # of a trace


@dataclass(frozen=True, slots=True)
class Trace:
    """Arrivals of every model, over the same ticks."""

    name: str
    models: tuple[str, ...]
    arrivals: Counts  # (models, ticks, priorities)

    @property
    def ticks(self) -> int:
        """How many there are."""
        return int(self.arrivals.shape[1])

    @property
    def hours(self) -> float:
        """From its first tick to its last."""
        return self.ticks * TICK / 3600.0

    @property
    def jobs(self) -> int:
        """Of all models and priorities."""
        return int(self.arrivals.sum())


def poisson(rate: float, seconds: float, seed: int = 0) -> Trace:
    """A steady load of `rate` jobs a second."""
    return _of_rates("poisson", np.full((1, _ticks(seconds)), rate), seed)


def diurnal(rate: float, seconds: float, seed: int = 0) -> Trace:
    """A day's wave about `rate` jobs a second: next to nothing by night, twice as many by day."""
    time = np.arange(_ticks(seconds)) * TICK
    wave = rate * (1 - np.cos(2 * np.pi * time / DAY))
    return _of_rates("diurnal", wave[np.newaxis], seed)


def burst(rate: float, seconds: float, seed: int = 0) -> Trace:
    """`rate` on average: nothing for most of the time, and each ten minutes or so a burst."""
    chance = np.random.default_rng(seed)
    rates = np.zeros(_ticks(seconds))
    at = chance.exponential(600.0)
    while at < seconds:
        length = chance.uniform(5.0, 60.0)
        size = chance.lognormal(0.0, 1.0) * rate * 600.0
        first = int(at / TICK)
        last = max(first + 1, int((at + length) / TICK))
        rates[first:last] += size / length
        at += chance.exponential(600.0)
    return _of_rates("burst", rates[np.newaxis], seed)


def zipf(rate: float, seconds: float, seed: int = 0, models: int = 12) -> Trace:
    """Many models that share the slots: each is asked for in sessions, few of them often."""
    chance = np.random.default_rng(seed)
    shares = 1.0 / np.arange(1, models + 1)
    shares /= shares.sum()
    rates = np.zeros((models, _ticks(seconds)))
    session, pause = 900.0, 1800.0
    for model, share in enumerate(shares):
        at = chance.exponential(pause)
        while at < seconds:
            length = chance.exponential(session)
            first, last = int(at / TICK), int((at + length) / TICK) + 1
            rates[model, first:last] += rate * share * (session + pause) / session
            at += length + chance.exponential(pause)
    return _of_rates("zipf", rates, seed)


PATTERNS = {"poisson": poisson, "diurnal": diurnal, "burst": burst, "zipf": zipf}


def read_trace(file: Path) -> Trace:
    """From CSV lines `second,model[,priority[,jobs]]` with a header, in any order.

    Raises SettingsInvalid, which names the line and what it should be.
    """
    rows: list[tuple[float, str, int, int]] = []
    priorities = [str(priority) for priority in Priority]
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            for number, row in enumerate(csv.DictReader(lines), 2):
                priority = row.get("priority") or str(Priority.NORMAL)
                try:
                    second, jobs = float(row["second"]), int(row.get("jobs") or 1)
                    if not row["model"]:
                        raise ValueError("it names no model")
                    rows.append((second, row["model"], priorities.index(priority), jobs))
                except (KeyError, TypeError, ValueError) as error:
                    raise SettingsInvalid(
                        f"{file}, line {number}: it is not second,model,priority,jobs with a "
                        f"priority of {', '.join(priorities)}: {error}"
                    ) from error
                if not 0 <= second <= LONGEST or jobs < 0:
                    raise SettingsInvalid(
                        f"{file}, line {number}: seconds count from the trace's beginning, for a "
                        "week at most, and jobs are not negative"
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsInvalid(f"{file} cannot be read: {error}") from error
    if not any(row[3] for row in rows):
        raise SettingsInvalid(
            f"{file}: no job is in it: it has a header and lines second,model,priority,jobs"
        )
    models = sorted({row[1] for row in rows})
    arrivals = np.zeros((len(models), _ticks(max(row[0] for row in rows)) + 1, 3), np.int64)
    for second, model, priority, jobs in rows:
        arrivals[models.index(model), int(second / TICK), priority] += jobs
    return Trace(file.stem, tuple(models), arrivals)


def _ticks(seconds: float) -> int:
    return max(int(seconds / TICK), 1)


def _of_rates(name: str, rates: NDArray[np.float64], seed: int) -> Trace:
    """Poisson counts of jobs at normal priority."""
    arrivals = np.zeros((*rates.shape, len(Priority)), np.int64)
    normal = list(Priority).index(Priority.NORMAL)
    arrivals[:, :, normal] = np.random.default_rng(seed + 1).poisson(rates * TICK)
    models = tuple(f"model-{number}" for number in range(1, len(rates) + 1))
    return Trace(name, models, arrivals)
