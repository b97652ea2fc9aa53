"""A picture of what rules led to: consumers, jobs that wait, and how long they waited."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scaler.simulation.system import Outcome
from scaler.simulation.traces import TICK

COLOURS = {"darkroom": "#c2410c", "keda": "#1d4ed8", "always on": "#737373"}
POINTS = 800  # across a panel: more cannot be told apart


def draw(traces: Sequence[Sequence[Outcome]], file: Path) -> None:
    """One column a trace, one line a rule. Written as PNG. Raises OSError."""
    figure = Figure(figsize=(1 + 4 * len(traces), 8), layout="constrained")
    panels = figure.subplots(3, len(traces), squeeze=False)
    for column, outcomes in enumerate(traces):
        consumers, waiting, waits = panels[:, column]
        for outcome in outcomes:
            style = {"color": COLOURS.get(outcome.rule), "label": outcome.rule, "linewidth": 1.0}
            consumers.plot(*_thinned(outcome.consumers), **style)
            waiting.plot(*_thinned(outcome.waiting), **style)
            share = np.cumsum(outcome.counts) / outcome.counts.sum()
            waits.step(outcome.waits, share, where="post", **style)
        consumers.set_title(f"{outcomes[0].trace}, {outcomes[0].jobs:,} jobs")
        waits.set_xscale("symlog", linthresh=1.0)
        waits.set_xlim(left=0)
        waits.axhline(0.95, color="#d4d4d4", linewidth=0.8, zorder=0)
        for panel, words in (
            (consumers, "consumers, by hours"),
            (waiting, "jobs waiting, by hours"),
            (waits, "share of jobs, by seconds waited"),
        ):
            panel.set_xlabel(words)
            panel.spines[["top", "right"]].set_visible(False)
    panels[0, 0].legend(frameon=False)
    figure.savefig(file, format="png", dpi=110)


def _thinned(curve: NDArray[np.int64]) -> tuple[NDArray[np.floating[Any]], NDArray[np.int64]]:
    """Hours, and the highest value of each stretch of ticks."""
    step = max(len(curve) // POINTS, 1)
    whole = len(curve) // step * step
    highest: NDArray[np.int64] = curve[:whole].reshape(-1, step).max(axis=1)
    return np.arange(len(highest)) * step * TICK / 3600.0, highest
