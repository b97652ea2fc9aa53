"""Errors as HTTP shows them: problem documents with a stable code, whose detail names the fix."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

import msgspec
from starlette.responses import Response

RETRY_AFTER_SECONDS = 5  # said with every 503
_NONE: Mapping[str, object] = MappingProxyType({})

# The stable codes: the status each has, and what a user may read beside it.
CODES: dict[str, tuple[int, str]] = {
    "invalid_http": (400, "Invalid HTTP request received. Let a library of HTTP write it."),
    "invalid_json": (400, "The body is not JSON: unexpected end of input (byte 17)."),
    "invalid_form": (400, "The form ends before its last boundary: send it again, whole."),
    "missing_key": (401, "This needs an API key: send `Authorization: Bearer dk_...`."),
    "invalid_key": (401, "There is no such key: copy all of it."),
    "expired_key": (401, "The key has expired: `darkroom keys rotate` makes its successor."),
    "revoked_key": (401, "The key was revoked: make one with `darkroom keys create`."),
    "scope_missing": (403, "This needs the scope admin, and the key 5f0c1b7e9a3d has user."),
    "not_found": (404, "There is nothing at /v1/prediction: /docs lists every route."),
    "unknown_model": (404, "There is no model 'a/b'. Known models: darkroom/shapes."),
    "unknown_prediction": (404, "There is no such prediction: check its id."),
    "unknown_webhook": (404, "There is no such webhook: GET /v1/webhooks lists yours."),
    "unknown_delivery": (404, "There is no such delivery: GET /v1/webhooks/deliveries has yours."),
    "no_delivery_matches": (404, "No ended delivery matches: see GET /v1/webhooks/deliveries."),
    "unknown_file": (404, "There is no such file: upload it with POST /v1/files."),
    "unknown_dead_letter": (404, "No dead letter with this id waits: see GET /v1/dead-letters."),
    "no_dead_letter_matches": (404, "No dead letter matches: see GET /v1/dead-letters/groups."),
    "unknown_result": (404, "There is no such result: copy the whole access_link."),
    "method_not_allowed": (405, "PATCH does not work here: use GET."),
    "request_too_slow": (408, "The request did not arrive in time: its headers have 20 seconds."),
    "webhook_not_active": (409, "The webhook is off: POST /v1/webhooks/ID/resume first."),
    "removed": (410, "Its bytes were removed: send the image again."),
    "not_ended": (409, "The prediction has not ended: wait for its end, or cancel it first."),
    "canceled": (410, "The prediction was canceled: there is no result."),
    "body_too_large": (413, "The body is larger than 4194304 bytes: upload images as files."),
    "file_too_large": (413, "The image has more than 33554432 bytes: send a smaller one."),
    "unsupported_media_type": (415, "Send application/json or multipart/form-data."),
    "not_an_image": (415, "This is no image: send JPEG, PNG, WebP, GIF, BMP or TIFF."),
    "invalid_request": (422, "Expected `str`, got `int` - at `$.model`."),
    "invalid_parameter": (422, "strength=3 is not allowed: give a number from 0 to 1."),
    "invalid_text": (422, "metadata holds a NUL character: remove it."),
    "invalid_cancel_after": (
        422,
        "Cancel-After: '3s' is no time from 5s to 366d: write 30s.",
    ),
    "invalid_start_by": (422, "start_by: 'soon' is neither seconds from now nor a time."),
    "start_by_passed": (422, "start_by is not in the future: give a later time, or leave it out."),
    "invalid_event_id": (422, "Last-Event-ID: 'x' is no id of this stream: leave it out."),
    "unknown_priority": (422, "There is no priority 'urgent': say high, normal or low."),
    "unknown_input": (422, "There is no input 'photo': send the picture as `image`."),
    "missing_model": (422, "Say which model: `model` is one of GET /v1/models."),
    "ambiguous_version": (422, "Several models have the version 'main': give `model` instead."),
    "missing_image": (422, "darkroom/shapes needs a picture: send it as `image`."),
    "empty_file": (422, "The image has no bytes: check the path and send it again."),
    "truncated_image": (422, "The JPEG ends too early: send the whole file."),
    "image_too_large": (422, "The image has 65535 x 65535 pixels: at most 40000000 are allowed."),
    "invalid_image": (
        422,
        "`image` is no URL, no data URI and no id of a file: see POST /v1/files.",
    ),
    "data_uri_too_large": (422, "A data URI has at most 262144 bytes: upload a file instead."),
    "url_refused": (422, "The URL's port is 8080: only 80 and 443 are connected to."),
    "too_many_webhooks": (422, "There are 20 webhooks, the most that are allowed: delete one."),
    "invalid_webhook": (422, "webhook: The URL is neither https:// nor http://: give one that is."),
    "unknown_event": (422, "There is no event 'end': say start, output, logs or completed."),
    "metadata_too_large": (422, "metadata has 20000 bytes: at most 16384 are allowed."),
    "invalid_idempotency_key": (422, "The Idempotency-Key has 256 characters: send 1 to 255."),
    "idempotency_key_reused": (422, "This Idempotency-Key was sent with another request."),
    "invalid_prediction_id": (422, "'7' is no UUID in lower case: choose one."),
    "prediction_id_reused": (422, "A prediction with this id exists: choose a new id."),
    "head_too_large": (431, "The request's line and headers have more than 65536 bytes."),
    "rate_limited": (429, "At most 500 requests a second are allowed: wait 1 second."),
    "queue_full": (429, "Your key has 100000 jobs that wait: wait until some have ended."),
    "failed": (422, "The prediction failed: its error says why."),
    "internal_error": (500, "Something broke here: the request_id finds it in the log."),
    "log_unavailable": (503, "The job log does not answer: try again in 5 seconds."),
    "store_unavailable": (503, "The object store does not answer: try again in 5 seconds."),
    "ledger_unavailable": (503, "The database does not answer: try again in 5 seconds."),
    "uploads_busy": (503, "Too many uploads are under way: try again in 5 seconds."),
    "not_ready": (503, "Not every dependency answers: see `dependencies`."),
    "title_timeout": (504, "No title within 30 seconds: the job was canceled, try again."),
}


class Problem(Exception):
    """Ends a request with a problem document. `status` is the code's own unless given."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] = _NONE,
    ) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail
        self.status = status or CODES[code][0]
        self.headers, self.members = dict(headers or {}), members


def document(problem: Problem, request_id: str) -> dict[str, object]:
    """The problem as RFC 9457 has it, with our `code` and `request_id`."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request_id,
        **problem.members,
    }


def problem_response(problem: Problem, request_id: str) -> Response:
    """The reply that a client gets."""
    headers = problem.headers
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    return Response(
        msgspec.json.encode(document(problem, request_id)),
        status_code=problem.status,
        headers=headers,
        media_type="application/problem+json",
    )
