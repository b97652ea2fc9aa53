"""Dead letters run once more: new predictions that name the old ones."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.access.authentication import admit_job
from api.database import dead_letters
from api.dependencies import base_of, parts_of, seen_by
from api.documentation import LEDGER, described
from api.replaying import Replays, replay, replay_some
from api.replies import json_reply
from api.routes import examples
from api.routes.dead_letters import (
    PATH,
    SELECTION_BODY,
    SELECTION_ERRORS,
    letter_of,
    nothing_there,
    selected,
)
from api.schemas import DeadLetterRefusal, DeadLetterReplay, DeadLettersReplayed

router = APIRouter(tags=["Dead letters"])


@router.post(
    f"{PATH}/replay",
    **described(
        "queue_full",
        *SELECTION_ERRORS,
        "store_unavailable",
        *LEDGER,
        reply="DeadLettersReplayed",
        example=examples.DEAD_LETTERS_REPLAYED,
        body=SELECTION_BODY,
    ),
)
async def replay_dead_letters(request: Request) -> Response:
    """Run some once more, those that match a filter, or all: at most 100 a call."""
    admit_job(request)
    parts, owner = parts_of(request), seen_by(request)
    wanted = await selected(request)
    replays = await replay_some(parts, owner=owner, filter=wanted.filter)
    if not replays.made and not replays.refused and not wanted.all:
        raise nothing_there("no_dead_letter_matches")
    async with parts.database.read() as connection:
        remaining = await dead_letters.count(connection, owner=owner, filter=wanted.filter)
    return _reply(request, replays, remaining)


@router.post(
    f"{PATH}/{{prediction_id}}/replay",
    **described(
        "queue_full",
        "unknown_dead_letter",
        "unknown_model",
        "removed",
        "store_unavailable",
        "uploads_busy",
        *LEDGER,
        reply="DeadLettersReplayed",
        example=examples.DEAD_LETTERS_REPLAYED,
    ),
)
async def replay_dead_letter(request: Request, prediction_id: str) -> Response:
    """Run one once more."""
    admit_job(request)
    letter = await letter_of(request, prediction_id)
    job = await replay(parts_of(request), letter)
    return _reply(request, Replays(made={letter.id: job}), 0)


def _reply(request: Request, replays: Replays, remaining: int) -> Response:
    base = base_of(request)
    body = DeadLettersReplayed(
        done=len(replays.made),
        remaining=remaining,
        results=[
            DeadLetterReplay(id=letter, prediction=job.id, url=f"{base}/v1/predictions/{job.id}")
            for letter, job in replays.made.items()
        ],
        refused=[
            DeadLetterRefusal(id=one.letter, code=one.code, detail=one.detail)
            for one in replays.refused
        ],
    )
    return json_reply(body)
