"""Webhooks on their way: what came of each attempt, and sending again."""

from __future__ import annotations

import time
from typing import Annotated, Literal, get_args

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.database import delivery_pages, webhook_endpoints
from api.database.delivery_pages import Delivery, DeliveryFilter
from api.database.telling import EVENTS
from api.dependencies import base_of, owner_of, parts_of
from api.documentation import LEDGER, described, reference
from api.intake.asking import decode
from api.intake.uploads import MAX_TEXT_BYTES, read_body
from api.pages import PAGE, Moment, cursor_of, page_url, seconds_of
from api.presenting import iso_time
from api.problems import Problem
from api.replies import json_reply
from api.routes import webhook_examples as examples
from api.webhooks.schemas import (
    DeliveriesResent,
    DeliveryAttempt,
    DeliveryDetail,
    DeliveryPage,
    DeliverySelection,
    DeliveryView,
)

MOST_AT_ONCE = 1000  # that one call sends again
PATH = "/v1/webhooks/deliveries"

State = Literal["pending", "delivered", "exhausted"]
Word = Annotated[str | None, Query(max_length=200)]

router = APIRouter(tags=["Webhooks"])


@router.get(
    PATH,
    **described(
        "invalid_request",
        "unknown_event",
        "unknown_webhook",
        *LEDGER,
        reply="DeliveryPage",
        example=examples.DELIVERIES,
    ),
)
async def list_deliveries(
    request: Request,
    webhook: Word = None,
    prediction: Word = None,
    state: State | None = None,
    event: Word = None,
    created_after: Moment | None = None,
    created_before: Moment | None = None,
    cursor: Annotated[str | None, Query(description="From `next`.")] = None,
) -> Response:
    """Deliveries, newest first, 100 a page."""
    selection = DeliverySelection(
        webhook=webhook,
        prediction=prediction,
        state=state,
        event=event,
        created_after=created_after,
        created_before=created_before,
    )
    wanted, place = await _filter(request, selection), cursor_of(cursor)
    async with parts_of(request).database.read() as connection:
        page = await delivery_pages.page(
            connection, owner=owner_of(request), filter=wanted, cursor=place, limit=PAGE
        )
    return json_reply(
        DeliveryPage(
            next=page_url(request, base_of(request), page.next),
            previous=None,
            results=[present_delivery(delivery) for delivery in page.items],
        )
    )


@router.post(
    f"{PATH}/resend",
    **described(
        "invalid_json",
        "invalid_text",
        "invalid_request",
        "body_too_large",
        "unknown_event",
        "unknown_webhook",
        "no_delivery_matches",
        "uploads_busy",
        *LEDGER,
        reply="DeliveriesResent",
        example=examples.RESENT,
        body={
            "application/json": {
                "schema": reference("DeliverySelection"),
                "example": examples.SELECTION,
            }
        },
    ),
)
async def resend_deliveries(request: Request) -> Response:
    """Send again those that match: at most 1,000 a call, and none that is still on its way."""
    with parts_of(request).uploads.hold() as hold:
        body = await read_body(request, hold, MAX_TEXT_BYTES)
        wanted = await _filter(request, decode(body, DeliverySelection))
    async with parts_of(request).database.write() as connection:
        count = await delivery_pages.send_again(
            connection, owner_of(request), wanted, at=time.time(), most=MOST_AT_ONCE
        )
    if not count:
        raise Problem(
            "no_delivery_matches",
            f"No ended delivery to an active webhook matches: see GET {PATH} for those there are.",
        )
    return json_reply(DeliveriesResent(resent=count, more=count == MOST_AT_ONCE))


@router.get(
    f"{PATH}/{{delivery_id}}",
    **described(
        "unknown_delivery", *LEDGER, reply="DeliveryDetail", example=examples.DELIVERY_DETAIL
    ),
)
async def get_delivery(request: Request, delivery_id: str) -> Response:
    """One delivery, with each of its attempts."""
    delivery = await _delivery(request, delivery_id)
    async with parts_of(request).database.read() as connection:
        rows = await delivery_pages.attempts(connection, delivery.id)
    history = [
        DeliveryAttempt(
            number=row.number,
            at=iso_time(row.at),
            seconds=round(row.seconds, 6),
            code=row.code,
            reply=row.reply,
        )
        for row in rows
    ]
    return json_reply(
        DeliveryDetail(**msgspec.to_builtins(present_delivery(delivery)), history=history)
    )


@router.post(
    f"{PATH}/{{delivery_id}}/resend",
    **described(
        "unknown_delivery",
        "webhook_not_active",
        *LEDGER,
        status=202,
        reply="DeliveryView",
        example=examples.DELIVERY,
        description="It is sent within a second",
    ),
)
async def resend_delivery(request: Request, delivery_id: str) -> Response:
    """Send it again, under the same `webhook-id`."""
    delivery = await _delivery(request, delivery_id)
    async with parts_of(request).database.write() as connection:
        if delivery.endpoint is not None:
            endpoint = await webhook_endpoints.get(connection, delivery.owner, delivery.endpoint)
            if endpoint is None or endpoint.state != "active":
                raise Problem(
                    "webhook_not_active",
                    "Its webhook is not active: POST "
                    f"/v1/webhooks/{delivery.endpoint}/resume first.",
                )
        await delivery_pages.send_one_again(connection, delivery.id, time.time())
    return json_reply(present_delivery(await _delivery(request, delivery_id)), 202)


def present_delivery(delivery: Delivery) -> DeliveryView:
    """As HTTP shows it."""
    return DeliveryView(
        id=delivery.id,
        webhook=delivery.endpoint,
        prediction=delivery.job,
        url=delivery.url,
        event=delivery.event,
        state=delivery.state,
        attempts=delivery.attempts,
        next_attempt_at=None if delivery.next_at is None else iso_time(delivery.next_at),
        created_at=iso_time(delivery.created_at),
    )


async def _delivery(request: Request, delivery_id: str) -> Delivery:
    """Raises Problem for another owner's, too."""
    found = None
    if "\0" not in delivery_id:
        async with parts_of(request).database.read() as connection:
            found = await delivery_pages.get(connection, owner_of(request), delivery_id)
    if found is None:
        raise Problem("unknown_delivery", f"There is no such delivery: GET {PATH} lists yours.")
    return found


async def _filter(request: Request, selection: DeliverySelection) -> DeliveryFilter:
    """Raises Problem for what cannot match anything."""
    if "\0" in (selection.webhook or "") + (selection.prediction or ""):
        raise Problem("invalid_request", "A filter holds a NUL character: remove it.")
    if selection.state not in (None, *get_args(State)):
        raise Problem("invalid_request", f"state: say {', '.join(get_args(State))}.")
    if selection.event not in (None, "test", *EVENTS):
        raise Problem("unknown_event", f"event: say {', '.join(EVENTS)} or test.")
    if selection.webhook is not None:
        async with parts_of(request).database.read() as connection:
            known = await webhook_endpoints.get(connection, owner_of(request), selection.webhook)
        if known is None:
            raise Problem(
                "unknown_webhook", "There is no such webhook: GET /v1/webhooks lists yours."
            )
    return DeliveryFilter(
        endpoint=selection.webhook,
        job=selection.prediction,
        state=selection.state,
        event=selection.event,
        created_after=seconds_of(selection.created_after),
        created_before=seconds_of(selection.created_before),
    )
