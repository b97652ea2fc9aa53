"""Our scaling rule beside KEDA's and an always-on fleet, on four days of load. No process runs.

python -m benchmarks.scaling                   # prints the figures
python -m benchmarks.scaling docs/scaling.png  # and draws them
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from common.scaling import Rules
from scaler.simulation.compare import compare
from scaler.simulation.picture import draw
from scaler.simulation.system import Outcome, System
from scaler.simulation.traces import DAY, PATTERNS

SLOTS = 1000
COLD_START = 20.0
# Jobs a second, on average, and seconds a job: the first is a hundred million jobs.
LOADS = {
    "poisson": (1160.0, 0.5),
    "diurnal": (800.0, 0.5),
    "burst": (2.0, 2.0),
    "zipf": (100.0, 2.0),
}


def main() -> None:
    drawn: list[list[Outcome]] = []
    for pattern, (rate, seconds_per_job) in LOADS.items():
        began = time.monotonic()
        trace = PATTERNS[pattern](rate, DAY)
        system = System(seconds_per_job, COLD_START, SLOTS)
        outcomes = compare(trace, system, Rules(maximum=SLOTS))
        drawn.append(outcomes)
        took = time.monotonic() - began
        print(f"{pattern}: {trace.jobs:,} jobs of {seconds_per_job} s, simulated in {took:.0f} s")
        for outcome in outcomes:
            figures = outcome.figures(COLD_START)
            print("   ", ", ".join(f"{name} {_shown(value)}" for name, value in figures.items()))
        ours, keda, _ = outcomes
        beyond = [outcome.wait(0.95, COLD_START) for outcome in (ours, keda)]
        hours = ours.device_hours / keda.device_hours
        print(f"    p95 beyond the cold start {beyond[0]:.1f} s against KEDA's {beyond[1]:.1f} s, ")
        print(f"    with {hours:.2f} times its device hours", flush=True)
    if sys.argv[1:]:
        draw(drawn, Path(sys.argv[1]))


def _shown(value: float | str) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
