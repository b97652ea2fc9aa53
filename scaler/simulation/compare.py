"""Our rule beside KEDA's and a fleet that is always on, over one trace."""

from __future__ import annotations

from common.scaling import Rules
from scaler.simulation.rules import AlwaysOn, Darkroom, Keda
from scaler.simulation.system import Outcome, System, simulate
from scaler.simulation.traces import Trace


def compare(trace: Trace, system: System, rules: Rules) -> list[Outcome]:
    """What each rule leads to, ours first."""
    return [
        simulate(trace, rule, system)
        for rule in (
            Darkroom(trace, rules, system.slots),
            Keda(trace, system.slots),
            AlwaysOn(trace, system.seconds_per_job, system.slots),
        )
    ]
