"""Dead letters: what failed for good and waits for somebody to replay or to discard it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.database import dead_letters
from api.database.dead_letters import LetterFilter, LetterGroup
from api.dependencies import base_of, parts_of, seen_by
from api.documentation import LEDGER, described, reference
from api.intake.asking import decode
from api.intake.uploads import MAX_TEXT_BYTES, read_body
from api.pages import PAGE, Moment, cursor_of, page_url, seconds_of
from api.presenting import iso_time
from api.problems import Problem
from api.replies import json_reply
from api.routes import examples
from api.schemas import (
    DeadLetter,
    DeadLetterGroup,
    DeadLetterGroups,
    DeadLetterPage,
    DeadLettersDiscarded,
    DeadLetterSelection,
    DeadLetterUrls,
)
from common.job import Job

MOST_AT_ONCE = 500  # letters that one call deals with
PATH = "/v1/dead-letters"

router = APIRouter(tags=["Dead letters"])

SELECTION_ERRORS = (
    "invalid_json",
    "invalid_text",
    "invalid_request",
    "no_dead_letter_matches",
    "body_too_large",
    "uploads_busy",
)
SELECTION_BODY = {
    "application/json": {
        "schema": reference("DeadLetterSelection"),
        "example": examples.DEAD_LETTER_SELECTION,
    }
}

Word = Annotated[str | None, Query(max_length=200)]


@router.get(
    PATH,
    **described("invalid_request", *LEDGER, reply="DeadLetterPage", example=examples.DEAD_LETTERS),
)
async def list_dead_letters(
    request: Request,
    cause: Word = None,
    model: Word = None,
    created_after: Moment | None = None,
    created_before: Moment | None = None,
    failed_after: Moment | None = None,
    failed_before: Moment | None = None,
    cursor: Annotated[str | None, Query(description="From `next` or `previous`.")] = None,
) -> Response:
    """Dead letters that wait, the latest failures first, 100 a page."""
    wanted = _filter(
        DeadLetterSelection(
            cause=cause,
            model=model,
            created_after=created_after,
            created_before=created_before,
            failed_after=failed_after,
            failed_before=failed_before,
        )
    )
    place = cursor_of(cursor)
    async with parts_of(request).database.read() as connection:
        page = await dead_letters.page(
            connection, owner=seen_by(request), filter=wanted, cursor=place, limit=PAGE
        )
    base = base_of(request)
    return json_reply(
        DeadLetterPage(
            next=page_url(request, base, page.next),
            previous=page_url(request, base, page.previous),
            results=[_present(letter, base) for letter in page.items],
        )
    )


@router.get(
    f"{PATH}/groups",
    **described(
        "invalid_request", *LEDGER, reply="DeadLetterGroups", example=examples.DEAD_LETTER_GROUPS
    ),
)
async def group_dead_letters(request: Request, cause: Word = None, model: Word = None) -> Response:
    """Dead letters by model and cause, each group with its latest."""
    wanted = _filter(DeadLetterSelection(cause=cause, model=model))
    async with parts_of(request).database.read() as connection:
        groups = await dead_letters.groups(connection, owner=seen_by(request), filter=wanted)
    base = base_of(request)
    return json_reply(DeadLetterGroups(results=[_present_group(group, base) for group in groups]))


@router.post(
    f"{PATH}/discard",
    **described(
        *SELECTION_ERRORS,
        *LEDGER,
        reply="DeadLettersDiscarded",
        example=examples.DEAD_LETTERS_DISCARDED,
        body=SELECTION_BODY,
    ),
)
async def discard_dead_letters(request: Request) -> Response:
    """Discard some, those that match a filter, or all: at most 500 a call. They stay failed."""
    wanted = await selected(request)
    reply = await _discard(request, wanted.filter)
    if not reply.done and not wanted.all:
        raise nothing_there("no_dead_letter_matches")
    return json_reply(reply)


@router.post(
    f"{PATH}/{{prediction_id}}/discard",
    **described(
        "unknown_dead_letter",
        *LEDGER,
        reply="DeadLettersDiscarded",
        example=examples.DEAD_LETTERS_DISCARDED,
    ),
)
async def discard_dead_letter(request: Request, prediction_id: str) -> Response:
    """Discard one. It stays failed."""
    letter = await letter_of(request, prediction_id)
    reply = await _discard(request, LetterFilter(ids=(letter.id,)))
    if not reply.done:  # somebody was faster
        raise nothing_there("unknown_dead_letter")
    return json_reply(reply)


async def _discard(request: Request, wanted: LetterFilter) -> DeadLettersDiscarded:
    owner = seen_by(request)
    async with parts_of(request).database.write() as connection:
        done = await dead_letters.discard(
            connection, owner=owner, filter=wanted, limit=MOST_AT_ONCE
        )
        remaining = await dead_letters.count(connection, owner=owner, filter=wanted)
    return DeadLettersDiscarded(done=len(done), remaining=remaining, ids=done)


@dataclass(frozen=True, slots=True)
class Selected:
    """What a body selects: by a filter, or simply all."""

    filter: LetterFilter
    all: bool


async def letter_of(request: Request, prediction_id: str) -> Job:
    """The letter with this id. Raises Problem `unknown_dead_letter` unless it waits."""
    if "\0" in prediction_id:
        raise nothing_there("unknown_dead_letter")
    async with parts_of(request).database.read() as connection:
        page = await dead_letters.page(
            connection,
            owner=seen_by(request),
            filter=LetterFilter(ids=(prediction_id,)),
            cursor=None,
            limit=1,
        )
    if not page.items:
        raise nothing_there("unknown_dead_letter")
    return page.items[0]


async def selected(request: Request) -> Selected:
    """What the body selects. Raises Problem where it selects in no way, or in several."""
    with parts_of(request).uploads.hold() as hold:
        body = await read_body(request, hold, MAX_TEXT_BYTES)
        selection = decode(body, DeadLetterSelection)
    wanted = _filter(selection)
    by_filter = msgspec.structs.replace(selection, ids=None, all=False) != DeadLetterSelection()
    if selection.all + by_filter + (selection.ids is not None) != 1:
        raise Problem("invalid_request", "Give either `ids`, or filters, or `all`: true.")
    if len(selection.ids or ()) > MOST_AT_ONCE:
        raise Problem("invalid_request", f"At most {MOST_AT_ONCE} ids: send the rest after them.")
    return Selected(wanted, selection.all)


def _filter(selection: DeadLetterSelection) -> LetterFilter:
    ids = selection.ids
    if "\0" in "".join((selection.cause or "", selection.model or "", *(ids or ()))):
        raise Problem("invalid_request", "A filter holds a NUL character: remove it.")
    return LetterFilter(
        ids=None if ids is None else tuple(ids),
        cause=selection.cause,
        model=selection.model,
        created_after=seconds_of(selection.created_after),
        created_before=seconds_of(selection.created_before),
        failed_after=seconds_of(selection.failed_after),
        failed_before=seconds_of(selection.failed_before),
    )


def nothing_there(code: str) -> Problem:
    """No letter is meant, whether by its id or by a filter."""
    if code == "unknown_dead_letter":
        detail = f"No dead letter with this id waits: see GET {PATH} for those that do."
    else:
        detail = f"No dead letter matches: see GET {PATH}/groups for models and causes there are."
    return Problem(code, detail)


def _present(letter: Job, base: str) -> DeadLetter:
    url = f"{base}{PATH}/{letter.id}"
    assert letter.completed_at is not None
    return DeadLetter(
        id=letter.id,
        model=letter.spec.model,
        cause=letter.error_code or "",
        error=letter.error or "",
        attempts=letter.attempt,
        created_at=iso_time(letter.created_at),
        failed_at=iso_time(letter.completed_at),
        data_removed=letter.removed_at is not None,
        urls=DeadLetterUrls(
            get=f"{base}/v1/predictions/{letter.id}",
            replay=f"{url}/replay",
            discard=f"{url}/discard",
        ),
    )


def _present_group(group: LetterGroup, base: str) -> DeadLetterGroup:
    return DeadLetterGroup(
        model=group.model,
        cause=group.cause,
        count=group.count,
        first_failed_at=iso_time(group.first_failed_at),
        last_failed_at=iso_time(group.last_failed_at),
        sample=_present(group.sample, base),
    )
