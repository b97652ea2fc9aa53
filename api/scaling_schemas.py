"""The bodies of requests and replies about scaling."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from common.scaling import ModelScaling, ScalingMode

Count = Annotated[int, Meta(ge=0, le=1000)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]


class ScalingChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What scalers do: on, paused (they start and stop nothing), or dry_run (they only say)."""

    mode: ScalingMode


class ModelScalingChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a model. null: as its line in model_names.txt says again."""

    paused: bool | UnsetType = UNSET
    min: Count | UnsetType | None = UNSET
    max: Annotated[int, Meta(ge=1, le=1000)] | UnsetType | None = UNSET
    target: Annotated[float, Meta(ge=0.1, le=1000000.0)] | UnsetType | None = UNSET
    cooldown: Seconds | UnsetType | None = UNSET
    hold_down: Seconds | UnsetType | None = UNSET


class ScalingDecision(msgspec.Struct, frozen=True, kw_only=True):
    """How many consumers a model was to have from then on, and why."""

    id: str
    at: str
    scaler: str
    model: str
    before: int
    after: int
    reason: str
    applied: bool  # false: in a dry run
    alert: str  # poison, breaker, or nothing


class ModelScalingView(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of a model as they are now: seconds, and consumers. `changed` is not its line's.

    `max` is null where neither says one: it may have one on each device of the scaler's host.
    """

    model: str
    paused: bool
    min: int
    max: int | None
    target: float
    cooldown: float
    hold_down: float
    changed: ModelScaling
    ready: int
    loading: int
    last: ScalingDecision | None


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """What scalers do, and the rules of every model."""

    mode: ScalingMode
    models: list[ModelScalingView]


class ScalingDecisionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions, the latest first."""

    next: str | None
    previous: str | None
    results: list[ScalingDecision]
