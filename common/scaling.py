"""How many consumers of a model there may be, as operators say it, and what scalers say of it.

Topic `control` carries ScalingSettings, topic `events` ScalerStarted and ScalingDecided. Times are
seconds since the epoch, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from common.catalogue import ModelSpec
from common.settings import Settings

SCALING_KEY = "scaling"  # of the settings on `control`, which so keep their order

Number = TypeVar("Number", int, float)
Target = Annotated[float, Meta(ge=0.1, le=1e6)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator wants of a model. KEDA's words and defaults where a knob means the same."""

    minimum: int = 0  # kept even when idle
    maximum: int = 1  # never more than a topic has partitions: one more would get none
    target: float = 30.0  # seconds in which what waits at normal priority should be done
    cooldown: float = 300.0  # without work, before the last consumer stops
    hold_down: float = 180.0  # for which fewer must have been enough, before some stop


class ScalingMode(StrEnum):
    """What a scaler does with what it decides."""

    ON = "on"
    PAUSED = "paused"  # nothing is started or stopped
    DRY_RUN = "dry_run"  # it decides and says so, and starts and stops nothing


class ModelScaling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was changed of one model while it ran; None: as its line or the settings say."""

    paused: bool = False
    min: Annotated[int, Meta(ge=0, le=1000)] | None = None
    max: Annotated[int, Meta(ge=1, le=1000)] | None = None
    target: Target | None = None
    cooldown: Seconds | None = None
    hold_down: Seconds | None = None


class ScalingSettings(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="scaling"):
    """All that was changed while it ran; of two the one with the higher revision holds."""

    revision: int
    mode: ScalingMode = ScalingMode.ON
    models: dict[str, ModelScaling] = {}


class ScalerStarted(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="scaler_started"
):
    """A scaler asks for the settings, which are in the ledger, where it may not look."""

    scaler: str
    at: float


class ScalingDecided(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="scaling_decided"
):
    """How many consumers a model should have from now on, and why."""

    id: str
    scaler: str
    model: str
    at: float
    before: int  # consumers
    after: int
    reason: str
    applied: bool  # False: in a dry run
    alert: str = ""  # poison or breaker: somebody should look


ScalingEvent = ScalerStarted | ScalingDecided


def rules_of(
    model: ModelSpec, usual: Rules, partitions: int, changed: ModelScaling | None = None
) -> Rules:
    """What was changed while it ran, else what the model's line says, else `usual`."""
    changed = changed or ModelScaling()
    minimum = _first(changed.min, model.min, usual.minimum)
    maximum = _first(changed.max, model.max, max(minimum, usual.maximum))
    return Rules(
        minimum=min(minimum, maximum, partitions),
        maximum=min(maximum, partitions),
        target=_first(changed.target, model.target, usual.target),
        cooldown=_first(changed.cooldown, model.cooldown, usual.cooldown),
        hold_down=_first(changed.hold_down, model.hold_down, usual.hold_down),
    )


def usual_rules(settings: Settings, *, copies: int = 1) -> Rules:
    """Of a model whose line says nothing; `copies` of it have a device of their own."""
    return Rules(
        maximum=copies,
        target=settings.target_seconds,
        cooldown=settings.cooldown_seconds,
        hold_down=settings.hold_down_seconds,
    )


def _first(changed: Number | None, of_line: Number | None, usual: Number) -> Number:
    if changed is not None:
        return changed
    return usual if of_line is None else of_line
