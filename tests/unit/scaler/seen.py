"""Models as the policy sees them."""

from __future__ import annotations

from common.scaling import Rules
from scaler.observation import ModelSeen

NOW = 1000.0
RULES = Rules(maximum=100, target=30.0, cooldown=60.0, hold_down=60.0)
# Idle since just now, measured, and no consumer.
IDLE = ModelSeen(
    model="m",
    rules=RULES,
    lag=None,
    consumers=0,
    ready=0,
    stopping=0,
    seconds_per_job=2.0,
    cold_start=20.0,
    arrivals=0.0,
    idle_since=NOW,
    unserved_since=NOW,
    served_since=NOW,
)
