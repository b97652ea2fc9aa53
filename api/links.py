"""What /docs says of where to go from a reply: OpenAPI's links."""

from __future__ import annotations

from typing import Any

_JOB = "/v1/predictions/{prediction_id}"
_LETTER = "/v1/dead-letters/{prediction_id}"
_FILE = "/v1/files/{file_id}"
_HOOK = "/v1/webhooks/{webhook_id}"
_DELIVERY = "/v1/webhooks/deliveries/{delivery_id}"

_ONE = "$response.body#/id"
_FIRST = "$response.body#/results/0/id"

# The thing that an id names, and every operation on it.
_ON_JOB = (
    "prediction_id",
    (
        f"get {_JOB}",
        f"delete {_JOB}",
        f"post {_JOB}/cancel",
        f"post {_JOB}/retry",
        f"get {_JOB}/events",
        f"get {_JOB}/stream",
    ),
)
_ON_LETTER = ("prediction_id", (f"post {_LETTER}/discard", f"post {_LETTER}/replay"))
_ON_FILE = ("file_id", (f"get {_FILE}", f"delete {_FILE}"))
_ON_HOOK = (
    "webhook_id",
    (
        f"get {_HOOK}",
        f"delete {_HOOK}",
        f"post {_HOOK}/pause",
        f"post {_HOOK}/resume",
        f"post {_HOOK}/rotate",
        f"post {_HOOK}/test",
    ),
)
_ON_DELIVERY = ("delivery_id", (f"get {_DELIVERY}", f"post {_DELIVERY}/resend"))

# Operation, status of its reply, where the id stands in it, what may follow.
LINKS = (
    ("post /v1/predictions", "202", _ONE, _ON_JOB),
    ("post /v1/models/{owner}/{name}/predictions", "202", _ONE, _ON_JOB),
    (f"post {_JOB}/retry", "202", _ONE, _ON_JOB),
    ("get /v1/predictions", "200", _FIRST, _ON_JOB),
    ("get /v1/dead-letters", "200", _FIRST, _ON_LETTER),
    ("post /v1/files", "201", _ONE, _ON_FILE),
    ("get /v1/files", "200", _FIRST, _ON_FILE),
    ("post /v1/webhooks", "201", _ONE, _ON_HOOK),
    ("get /v1/webhooks", "200", _FIRST, _ON_HOOK),
    (f"post {_HOOK}/test", "202", _ONE, _ON_DELIVERY),
    ("get /v1/webhooks/deliveries", "200", _FIRST, _ON_DELIVERY),
)


def add_links(document: dict[str, Any]) -> None:
    """Add them to the replies of the OpenAPI document. Raises KeyError for what is not in it."""
    for source, status, place, (parameter, targets) in LINKS:
        reply = _operation(document, source)["responses"][status]
        for target in targets:
            operation = _operation(document, target)
            reply.setdefault("links", {})[operation["summary"]] = {
                "operationId": operation["operationId"],
                "parameters": {parameter: place},
            }


def _operation(document: dict[str, Any], name: str) -> Any:
    method, path = name.split(" ")
    return document["paths"][path][method]
