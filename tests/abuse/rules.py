"""What every route asks for. A route that is not here fails a test."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api.access.keys import Scope

MODEL = "darkroom/echo"
JOB = {"model": MODEL, "input": {"prompt": "a"}}
_PICTURE = {"json": {"image": "eA=="}}
_FORM = {"files": {"content": b"x", "image": b"x"}}


@dataclass(frozen=True)
class Rule:
    """What a route asks for, and what it says of what is somebody else's."""

    scope: Scope | None = Scope.USER  # None: open
    foreign: str | None = None  # the code for another owner's id in the path; None: has none
    sent: Mapping[str, Any] = field(default_factory=dict)  # a body that would do something


PREDICTION = Rule(foreign="unknown_prediction")
LETTER = Rule(foreign="unknown_dead_letter")
FILE = Rule(foreign="unknown_file")
WEBHOOK = Rule(foreign="unknown_webhook")
DELIVERY = Rule(foreign="unknown_delivery")
ANYONE = Rule(scope=None)

# Every operation that there is. One that is missing here fails a test: decide what it asks for.
RULES = {
    "POST /v1/predictions": Rule(sent={"json": JOB}),
    "GET /v1/predictions": Rule(),
    "POST /v1/models/{owner}/{name}/predictions": Rule(sent={"json": {"input": {}}}),
    "GET /v1/predictions/{prediction_id}": PREDICTION,
    "PUT /v1/predictions/{prediction_id}": dataclasses.replace(PREDICTION, sent={"json": JOB}),
    "DELETE /v1/predictions/{prediction_id}": PREDICTION,
    "POST /v1/predictions/{prediction_id}/cancel": PREDICTION,
    "POST /v1/predictions/{prediction_id}/retry": PREDICTION,
    "GET /v1/predictions/{prediction_id}/events": PREDICTION,
    "GET /v1/predictions/{prediction_id}/stream": PREDICTION,
    "GET /v1/events": Rule(),
    "GET /v1/dead-letters": Rule(),
    "GET /v1/dead-letters/groups": Rule(),
    "POST /v1/dead-letters/discard": Rule(sent={"json": {"all": True}}),
    "POST /v1/dead-letters/replay": Rule(sent={"json": {"all": True}}),
    "POST /v1/dead-letters/{prediction_id}/discard": LETTER,
    "POST /v1/dead-letters/{prediction_id}/replay": LETTER,
    "GET /v1/scaling": Rule(scope=Scope.ADMIN),
    "GET /v1/scaling/decisions": Rule(scope=Scope.ADMIN),
    "PATCH /v1/scaling": Rule(scope=Scope.ADMIN, sent={"json": {"mode": "paused"}}),
    "PATCH /v1/scaling/models/{owner}/{name}": Rule(scope=Scope.ADMIN, sent={"json": {"max": 2}}),
    "POST /v1/files": Rule(sent=_FORM),
    "GET /v1/files": Rule(),
    "GET /v1/files/{file_id}": FILE,
    "DELETE /v1/files/{file_id}": FILE,
    "POST /v1/webhooks": Rule(sent={"json": {"url": "https://hooks.example.org/x"}}),
    "GET /v1/webhooks": Rule(),
    "GET /v1/webhooks/default/secret": Rule(),
    "POST /v1/webhooks/default/secret/rotate": Rule(sent={"json": {"overlap_seconds": 0}}),
    "GET /v1/webhooks/{webhook_id}": WEBHOOK,
    "DELETE /v1/webhooks/{webhook_id}": WEBHOOK,
    "POST /v1/webhooks/{webhook_id}/pause": WEBHOOK,
    "POST /v1/webhooks/{webhook_id}/resume": WEBHOOK,
    "POST /v1/webhooks/{webhook_id}/rotate": dataclasses.replace(
        WEBHOOK, sent={"json": {"overlap_seconds": 0}}
    ),
    "POST /v1/webhooks/{webhook_id}/test": WEBHOOK,
    "GET /v1/webhooks/deliveries": Rule(),
    "POST /v1/webhooks/deliveries/resend": Rule(sent={"json": {}}),
    "GET /v1/webhooks/deliveries/{delivery_id}": DELIVERY,
    "POST /v1/webhooks/deliveries/{delivery_id}/resend": DELIVERY,
    "GET /v1/models": Rule(),
    "GET /v1/models/{owner}/{name}": Rule(),
    "GET /v1/models/{owner}/{name}/versions": Rule(),
    "GET /v1/models/{owner}/{name}/versions/{version_id}": Rule(),
    "POST /api/diffusion": Rule(sent=_FORM),
    "POST /api/v1/predictions": Rule(sent=_PICTURE),
    "GET /metrics": Rule(scope=Scope.MONITOR),
    "GET /livez": ANYONE,
    "GET /readyz": ANYONE,
    # The token in the path is the key.
    "GET /v1/results/{prediction_id}/{token}": ANYONE,
    "GET /v1/results/{prediction_id}/{token}/{number}": ANYONE,
}
# What is served beside the document: it shows how to ask, and nothing of anyone's.
UNDOCUMENTED_AND_OPEN = {"/docs", "/docs/assets", "/", "/openapi.json"}
UNDOCUMENTED_WITH_A_KEY = {"QUERY /v1/models"}
