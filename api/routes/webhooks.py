"""Registered webhooks, and the secrets that sign."""

from __future__ import annotations

import time
from typing import Annotated, TypeVar

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.database import delivery_pages, webhook_endpoints, webhook_secrets
from api.database.delivery_pages import Delivery
from api.database.telling import DEFAULT_EVENTS
from api.database.webhook_endpoints import Endpoint
from api.dependencies import base_of, owner_of, parts_of
from api.documentation import LEDGER, described, reference
from api.intake.asking import decode
from api.intake.uploads import MAX_TEXT_BYTES, read_body
from api.pages import PAGE, cursor_of, page_url
from api.presenting import iso_time
from api.problems import Problem
from api.replies import json_reply
from api.routes import webhook_examples as examples
from api.routes.webhook_deliveries import present_delivery
from api.submit import new_id
from api.webhooks.asking import webhook_events, webhook_url
from api.webhooks.schemas import (
    NewWebhook,
    RotatedKey,
    Rotation,
    WebhookKey,
    WebhookPage,
    WebhookRequest,
    WebhookView,
)

MOST_WEBHOOKS = 20  # of an owner: each job's end makes a delivery to every one
LONGEST_OVERLAP = 7 * 86_400.0  # seconds
PATH = "/v1/webhooks"

router = APIRouter(tags=["Webhooks"])

_BODY_ERRORS = ("invalid_json", "invalid_text", "invalid_request", "body_too_large")
Kind = TypeVar("Kind")


def _body(component: str, example: object) -> dict[str, object]:
    return {"application/json": {"schema": reference(component), "example": example}}


@router.post(
    PATH,
    **described(
        *_BODY_ERRORS,
        "invalid_webhook",
        "unknown_event",
        "too_many_webhooks",
        "uploads_busy",
        *LEDGER,
        status=201,
        reply="NewWebhook",
        example=examples.NEW_WEBHOOK,
        description="Registered: its secret is shown this once",
        body=_body("WebhookRequest", examples.WEBHOOK_REQUEST),
    ),
)
async def create_webhook(request: Request) -> Response:
    """Register a URL that is told of all your predictions."""
    asked = await _read(request, WebhookRequest)
    owner, now = owner_of(request), time.time()
    endpoint = Endpoint(
        id=new_id(),
        owner=owner,
        url=webhook_url(asked.url, parts_of(request).webhook_guard),
        events=webhook_events(asked.events or DEFAULT_EVENTS),
        created_at=now,
    )
    async with parts_of(request).database.write() as connection:
        if await webhook_endpoints.count(connection, owner) >= MOST_WEBHOOKS:
            raise Problem(
                "too_many_webhooks",
                f"There are {MOST_WEBHOOKS} webhooks, the most that are allowed: delete one.",
            )
        await webhook_endpoints.add(connection, endpoint)
        secret = await webhook_secrets.add(connection, owner, endpoint.id, now)
    shown = msgspec.to_builtins(_present(endpoint))
    return json_reply(NewWebhook(**shown, secret=secret), 201)


@router.get(
    PATH, **described("invalid_request", *LEDGER, reply="WebhookPage", example=examples.WEBHOOKS)
)
async def list_webhooks(
    request: Request, cursor: Annotated[str | None, Query(description="From `next`.")] = None
) -> Response:
    """Registered webhooks, newest first, 100 a page."""
    place = cursor_of(cursor)
    async with parts_of(request).database.read() as connection:
        page = await webhook_endpoints.page(
            connection, owner=owner_of(request), cursor=place, limit=PAGE
        )
    return json_reply(
        WebhookPage(
            next=page_url(request, base_of(request), page.next),
            previous=None,
            results=[_present(endpoint) for endpoint in page.items],
        )
    )


@router.get(
    f"{PATH}/default/secret", **described(*LEDGER, reply="WebhookKey", example=examples.KEY)
)
async def get_default_secret(request: Request) -> Response:
    """The secret that signs the webhooks which your predictions name themselves."""
    async with parts_of(request).database.write() as connection:
        key = await webhook_secrets.default(connection, owner_of(request), time.time())
    return json_reply(WebhookKey(key=key))


@router.post(
    f"{PATH}/default/secret/rotate",
    **described(
        *_BODY_ERRORS,
        "uploads_busy",
        *LEDGER,
        reply="RotatedKey",
        example=examples.ROTATED,
        body=_body("Rotation", examples.ROTATION),
        body_required=False,
    ),
)
async def rotate_default_secret(request: Request) -> Response:
    """A new secret for them; the one before signs too, for as long as you say."""
    return await _rotate(request, None)


@router.get(
    f"{PATH}/{{webhook_id}}",
    **described("unknown_webhook", *LEDGER, reply="WebhookView", example=examples.WEBHOOK),
)
async def get_webhook(request: Request, webhook_id: str) -> Response:
    """One webhook. Its secret is not shown again: rotate it for a new one."""
    return json_reply(_present(await _endpoint(request, webhook_id)))


@router.delete(
    f"{PATH}/{{webhook_id}}",
    **described("unknown_webhook", *LEDGER, status=204, media_type="", description="Deleted"),
)
async def delete_webhook(request: Request, webhook_id: str) -> Response:
    """Delete it, with all of its deliveries."""
    await _endpoint(request, webhook_id)
    async with parts_of(request).database.write() as connection:
        await webhook_endpoints.remove(connection, owner_of(request), webhook_id)
    return Response(status_code=204)


@router.post(
    f"{PATH}/{{webhook_id}}/pause",
    **described("unknown_webhook", *LEDGER, reply="WebhookView", example=examples.WEBHOOK),
)
async def pause_webhook(request: Request, webhook_id: str) -> Response:
    """Send nothing to it until it is resumed; of what happens meanwhile it is never told."""
    endpoint = await _endpoint(request, webhook_id)
    async with parts_of(request).database.write() as connection:
        await webhook_endpoints.pause(connection, endpoint.owner, endpoint.id)
    return json_reply(_present(await _endpoint(request, webhook_id)))


@router.post(
    f"{PATH}/{{webhook_id}}/resume",
    **described("unknown_webhook", *LEDGER, reply="WebhookView", example=examples.WEBHOOK),
)
async def resume_webhook(request: Request, webhook_id: str) -> Response:
    """Send to it again, whether it was paused or turned off."""
    endpoint = await _endpoint(request, webhook_id)
    async with parts_of(request).database.write() as connection:
        await webhook_endpoints.resume(connection, endpoint.owner, endpoint.id, time.time())
    return json_reply(_present(await _endpoint(request, webhook_id)))


@router.post(
    f"{PATH}/{{webhook_id}}/rotate",
    **described(
        *_BODY_ERRORS,
        "unknown_webhook",
        "uploads_busy",
        *LEDGER,
        reply="RotatedKey",
        example=examples.ROTATED,
        body=_body("Rotation", examples.ROTATION),
        body_required=False,
    ),
)
async def rotate_webhook_secret(request: Request, webhook_id: str) -> Response:
    """A new secret, shown this once; the one before signs too, for as long as you say."""
    await _endpoint(request, webhook_id)
    return await _rotate(request, webhook_id)


@router.post(
    f"{PATH}/{{webhook_id}}/test",
    **described(
        "unknown_webhook",
        "webhook_not_active",
        *LEDGER,
        status=202,
        reply="DeliveryView",
        example=examples.DELIVERY,
        description="It is sent within a second",
    ),
)
async def test_webhook(request: Request, webhook_id: str) -> Response:
    """Send a test. The delivery shows what came of it."""
    endpoint = await _endpoint(request, webhook_id)
    if endpoint.state != "active":
        raise Problem(
            "webhook_not_active",
            f"The webhook is {endpoint.state}: POST {PATH}/{endpoint.id}/resume first.",
        )
    now = time.time()
    delivery = Delivery(
        id=f"test_{new_id()}",
        owner=endpoint.owner,
        endpoint=endpoint.id,
        job=None,
        url=endpoint.url,
        event="test",
        state="pending",
        attempts=0,
        next_at=now,
        created_at=now,
    )
    async with parts_of(request).database.write() as connection:
        await delivery_pages.add(connection, delivery)
    return json_reply(present_delivery(delivery), 202)


async def _rotate(request: Request, endpoint: str | None) -> Response:
    overlap = (await _read(request, Rotation)).overlap_seconds
    if not 0 <= overlap <= LONGEST_OVERLAP:
        raise Problem("invalid_request", "overlap_seconds: give 0 to 604800, which is a week.")
    now = time.time()
    async with parts_of(request).database.write() as connection:
        key = await webhook_secrets.rotate(
            connection, owner_of(request), endpoint, at=now, overlap=overlap
        )
    return json_reply(RotatedKey(key=key, before_expires_at=iso_time(now + overlap)))


async def _endpoint(request: Request, webhook_id: str) -> Endpoint:
    """Raises Problem for another owner's, too."""
    found = None
    if "\0" not in webhook_id:
        async with parts_of(request).database.read() as connection:
            found = await webhook_endpoints.get(connection, owner_of(request), webhook_id)
    if found is None:
        raise Problem("unknown_webhook", f"There is no such webhook: GET {PATH} lists yours.")
    return found


async def _read(request: Request, kind: type[Kind]) -> Kind:
    """The JSON of the body; none at all is an empty object."""
    with parts_of(request).uploads.hold() as hold:
        return decode(await read_body(request, hold, MAX_TEXT_BYTES) or b"{}", kind)


def _present(endpoint: Endpoint) -> WebhookView:
    return WebhookView(
        id=endpoint.id,
        url=endpoint.url,
        events=endpoint.events,
        state=endpoint.state,
        reason=endpoint.reason,
        created_at=iso_time(endpoint.created_at),
    )
