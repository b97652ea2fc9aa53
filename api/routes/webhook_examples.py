"""Examples of webhooks for /docs."""

from __future__ import annotations

from typing import Any

WEBHOOK_REQUEST = {"url": "https://example.org/darkroom", "events": ["completed"]}
WEBHOOK: dict[str, Any] = {
    "id": "019aa5f4-1a20-7d11-8c53-9b1f27d0a4e6",
    **WEBHOOK_REQUEST,
    "state": "active",
    "reason": "",
    "created_at": "2026-11-21T10:00:00.000Z",
}
KEY = {"key": "whsec_ZXhhbXBsZS1leGFtcGxlLWV4YW1wbGUtZXhhbXBsZSE="}
NEW_WEBHOOK = {**WEBHOOK, "secret": KEY["key"]}
WEBHOOKS = {"next": None, "previous": None, "results": [WEBHOOK]}
ROTATION = {"overlap_seconds": 86400}
ROTATED = {**KEY, "before_expires_at": "2026-11-22T10:00:00.000Z"}
DELIVERY: dict[str, Any] = {
    "id": f"019aa5f0-2c44-7b1e-9d6f-3f0c8a51e7d2_completed_{WEBHOOK['id']}",
    "webhook": WEBHOOK["id"],
    "prediction": "019aa5f0-2c44-7b1e-9d6f-3f0c8a51e7d2",
    "url": WEBHOOK["url"],
    "event": "completed",
    "state": "pending",
    "attempts": 1,
    "next_attempt_at": "2026-11-21T10:00:05.200Z",
    "created_at": "2026-11-21T10:00:00.060Z",
}
DELIVERY_DETAIL = {
    **DELIVERY,
    "history": [
        {
            "number": 1,
            "at": "2026-11-21T10:00:00.070Z",
            "seconds": 0.021,
            "code": 503,
            "reply": "try later",
        }
    ],
}
DELIVERIES = {"next": None, "previous": None, "results": [DELIVERY]}
SELECTION = {"state": "exhausted"}
RESENT = {"resent": 12, "more": False}
