"""The bodies of requests and replies about webhooks."""

from __future__ import annotations

from datetime import datetime

import msgspec


class WebhookRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where to send, and what: without `events` each completed prediction."""

    url: str
    events: list[str] | None = None


class WebhookView(msgspec.Struct, frozen=True, kw_only=True):
    """A registered endpoint. `state` is active, paused or off, and `reason` says why it is off."""

    id: str
    url: str
    events: tuple[str, ...]
    state: str
    reason: str
    created_at: str


class NewWebhook(WebhookView, frozen=True, kw_only=True):
    """The same with its secret, which is shown this once."""

    secret: str


class WebhookPage(msgspec.Struct, frozen=True, kw_only=True):
    """Registered endpoints, newest first."""

    next: str | None
    previous: str | None
    results: list[WebhookView]


class Rotation(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How long, in seconds, the secret before signs beside the new one: at most a week."""

    overlap_seconds: float = 86_400.0


class WebhookKey(msgspec.Struct, frozen=True, kw_only=True):
    """The secret that signs the webhooks which predictions name themselves."""

    key: str


class RotatedKey(msgspec.Struct, frozen=True, kw_only=True):
    """The new secret; until then the one before signs too."""

    key: str
    before_expires_at: str


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook on its way. `webhook` is null where the prediction named the URL itself."""

    id: str
    webhook: str | None
    prediction: str | None
    url: str
    event: str
    state: str
    attempts: int
    next_attempt_at: str | None
    created_at: str


class DeliveryAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `code` is null without a reply, and `reply` then says why there was none."""

    number: int
    at: str
    seconds: float
    code: int | None
    reply: str


class DeliveryDetail(DeliveryView, frozen=True, kw_only=True):
    """The same with each attempt."""

    history: list[DeliveryAttempt]


class DeliveryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries, newest first."""

    next: str | None
    previous: str | None
    results: list[DeliveryView]


class DeliverySelection(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which deliveries: what is left out does not filter. Times are ISO 8601, and exclusive."""

    webhook: str | None = None
    prediction: str | None = None
    state: str | None = None
    event: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


class DeliveriesResent(msgspec.Struct, frozen=True, kw_only=True):
    """How many are sent again. With `more`, call again for the rest."""

    resent: int
    more: bool
