"""Scaling: the rules of each model, what scalers decided and why, and changes while they run."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from fastapi import APIRouter, Query
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from api.appending import Message, append_all
from api.database import scaling
from api.dependencies import Parts, base_of, parts_of
from api.documentation import LEDGER, described, reference
from api.intake.asking import decode
from api.intake.uploads import MAX_TEXT_BYTES, read_body
from api.pages import PAGE, cursor_of, page_url
from api.presenting import iso_time
from api.problems import Problem
from api.replies import json_reply
from api.routes import examples
from api.scaling_schemas import (
    ModelScalingChange,
    ModelScalingView,
    Scaling,
    ScalingChange,
    ScalingDecision,
    ScalingDecisionPage,
)
from common.catalogue import ModelSpec
from common.events import WorkerState
from common.scaling import (
    SCALING_KEY,
    ModelScaling,
    ScalingDecided,
    ScalingSettings,
    rules_of,
    usual_rules,
)
from common.text import clean
from common.topic import CONTROL

PATH = "/v1/scaling"

Change = TypeVar("Change")

router = APIRouter(tags=["Scaling"])

CHANGE_ERRORS = (
    "invalid_json",
    "invalid_text",
    "invalid_request",
    "body_too_large",
    "uploads_busy",
    "log_unavailable",
    *LEDGER,
)


def _body(component: str, example: object) -> dict[str, object]:
    return {"application/json": {"schema": reference(component), "example": example}}


@router.get(PATH, **described(*LEDGER, reply="Scaling", example=examples.SCALING))
async def get_scaling(request: Request) -> Response:
    """What scalers do, the rules of every model, and what was decided of it last."""
    parts = parts_of(request)
    async with parts.database.read() as connection:
        settings = await scaling.settings(connection)
        last = await scaling.latest(connection)
    return json_reply(_present(parts, settings, last))


@router.get(
    f"{PATH}/decisions",
    **described(
        "invalid_request", *LEDGER, reply="ScalingDecisionPage", example=examples.SCALING_DECISIONS
    ),
)
async def list_decisions(
    request: Request,
    model: Annotated[str | None, Query(max_length=200, description="Only this model's.")] = None,
    cursor: Annotated[str | None, Query(description="From `next` or `previous`.")] = None,
) -> Response:
    """What was decided in the last thirty days, the latest first, 100 a page."""
    place, wanted = cursor_of(cursor), None if model is None else clean(model)
    async with parts_of(request).database.read() as connection:
        page = await scaling.page(connection, model=wanted, cursor=place, limit=PAGE)
    base = base_of(request)
    return json_reply(
        ScalingDecisionPage(
            next=page_url(request, base, page.next),
            previous=page_url(request, base, page.previous),
            results=[_decision(one) for one in page.items],
        )
    )


@router.patch(
    PATH,
    **described(
        *CHANGE_ERRORS,
        reply="Scaling",
        example=examples.SCALING,
        body=_body("ScalingChange", {"mode": "paused"}),
    ),
)
async def change_scaling(request: Request) -> Response:
    """Pause all scaling, go on with it, or only say what would be done."""
    wanted = await _wanted(request, ScalingChange)

    def change(settings: ScalingSettings) -> ScalingSettings:
        return msgspec.structs.replace(settings, mode=wanted.mode)

    async with parts_of(request).database.write() as connection:
        changed = await scaling.change(connection, change)
    await _tell(parts_of(request), changed)
    return await get_scaling(request)


@router.patch(
    f"{PATH}/models/{{owner}}/{{name}}",
    **described(
        "unknown_model",
        *CHANGE_ERRORS,
        reply="ModelScalingView",
        example=examples.MODEL_SCALING,
        body=_body("ModelScalingChange", {"max": 3, "target": 10}),
    ),
)
async def change_model_scaling(request: Request, owner: str, name: str) -> Response:
    """Change a model's rules while scalers run. It outlives them; null takes a change back."""
    parts = parts_of(request)
    model = parts.catalogue[f"{owner}/{name}"]
    wanted = await _wanted(request, ModelScalingChange)

    def change(settings: ScalingSettings) -> ScalingSettings:
        before = settings.models.get(model.name, ModelScaling())
        after = _merged(before, wanted)
        _check(model, after)
        models = {**settings.models, model.name: after}
        if after == ModelScaling():
            del models[model.name]
        return msgspec.structs.replace(settings, models=models)

    async with parts.database.write() as connection:
        changed = await scaling.change(connection, change)
        last = await scaling.latest(connection)
    await _tell(parts, changed)
    return json_reply(_view(parts, model, changed, last.get(model.name)))


async def _wanted(request: Request, kind: type[Change]) -> Change:
    with parts_of(request).uploads.hold() as hold:
        return decode(await read_body(request, hold, MAX_TEXT_BYTES), kind)


def _merged(before: ModelScaling, change: ModelScalingChange) -> ModelScaling:
    said = {
        name: value
        for name in change.__struct_fields__
        if (value := getattr(change, name)) is not UNSET
    }
    return msgspec.structs.replace(before, **said)


def _check(model: ModelSpec, after: ModelScaling) -> None:
    least = model.min if after.min is None else after.min
    most = model.max if after.max is None else after.max
    if most is not None and least > most:
        raise Problem(
            "invalid_request",
            f"min={least} is more than max={most}: lower one or raise the other.",
        )


async def _tell(parts: Parts, settings: ScalingSettings) -> None:
    """Raises LogUnavailable: the change is kept then, and sending it again tells it."""
    await append_all(parts.log, [Message(CONTROL, SCALING_KEY, settings)])


def _present(parts: Parts, settings: ScalingSettings, last: dict[str, ScalingDecided]) -> Scaling:
    models = [_view(parts, model, settings, last.get(model.name)) for model in parts.catalogue]
    return Scaling(mode=settings.mode, models=models)


def _view(
    parts: Parts, model: ModelSpec, settings: ScalingSettings, last: ScalingDecided | None
) -> ModelScalingView:
    changed = settings.models.get(model.name, ModelScaling())
    rules = rules_of(model, usual_rules(parts.settings), parts.settings.partitions, changed)
    states = [worker.state for worker in parts.workers.model(model.name).workers]
    return ModelScalingView(
        model=model.name,
        paused=changed.paused,
        min=rules.minimum,
        max=None if (changed.max or model.max) is None else rules.maximum,
        target=rules.target,
        cooldown=rules.cooldown,
        hold_down=rules.hold_down,
        changed=changed,
        ready=states.count(WorkerState.READY),
        loading=states.count(WorkerState.LOADING),
        last=None if last is None else _decision(last),
    )


def _decision(decided: ScalingDecided) -> ScalingDecision:
    columns = msgspec.structs.asdict(decided)
    return ScalingDecision(**{**columns, "at": iso_time(decided.at)})
