"""What a webhook says, and how it is signed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from standardwebhooks import Webhook

from api.presenting import iso_time
from api.schemas import Prediction

MOST_BYTES = 20_000
_MOST_ERROR = 500  # characters of an error's sentence, where all else was left out

# What is left out of a body that is too large, in this order, and what stands there then.
_LEFT_OUT: tuple[tuple[str, Any], ...] = (
    ("logs", ""),
    ("input", {}),
    ("output", None),
    ("metadata", {}),
    ("labels", []),
)


def body_of(prediction: Prediction) -> bytes:
    """The prediction as JSON of at most 20,000 bytes; `truncated` says if something is missing."""
    whole = msgspec.json.encode(prediction)
    if len(whole) <= MOST_BYTES:
        return whole
    members: dict[str, Any] = msgspec.to_builtins(prediction)
    members["truncated"] = True
    for name, nothing in _LEFT_OUT:
        members[name] = nothing
        shorter = msgspec.json.encode(members)
        if len(shorter) <= MOST_BYTES:
            return shorter
    members["error"] = (members["error"] or "")[:_MOST_ERROR] or None
    return msgspec.json.encode(members)


def trial_body(endpoint: str, created_at: float) -> bytes:
    """What a test sends: there is no prediction to tell of."""
    return msgspec.json.encode(
        {"type": "test", "webhook": endpoint, "created_at": iso_time(created_at)}
    )


def signed_headers(
    id: str, event: str, body: bytes, *, secrets: Sequence[str], at: float
) -> dict[str, str]:
    """The headers of one attempt, with a signature for each secret; `at` is in seconds."""
    moment = datetime.fromtimestamp(int(at), UTC)
    text = body.decode()
    signatures = [Webhook(secret).sign(id, moment, text) for secret in secrets]
    return {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": " ".join(signatures),
        "darkroom-event": event,
    }
