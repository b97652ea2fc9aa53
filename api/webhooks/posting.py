"""One attempt to deliver a webhook, and what follows from its reply."""

from __future__ import annotations

import time
from collections.abc import Callable

from api.database.deliveries import Outcome
from api.webhooks.body import signed_headers
from api.webhooks.letters import Letter
from api.webhooks.schedule import delivered, next_delay, retry_after
from common import tracing
from common.errors import UrlRefused, UrlUnreachable
from common.guarded_client import GuardedClient
from common.text import clean

ATTEMPT_SECONDS = 15.0
REPLY_BYTES = 1000  # of a reply that are kept
_GONE = 410


async def post(
    client: GuardedClient,
    letter: Letter,
    *,
    clock: Callable[[], float],
    chance: Callable[[], float],
) -> Outcome:
    """Send it once. Whatever the receiver does is an outcome."""
    due, at = letter.due, clock()
    began = time.monotonic()
    code, wait = None, None
    headers = signed_headers(due.id, due.event, letter.body, secrets=letter.secrets, at=at)
    span = tracing.begin(
        "webhook", letter.traceparent, kind="client", attributes={"darkroom.event": due.event}
    )
    try:
        reply = await client.send(
            "POST",
            due.url,
            seconds=ATTEMPT_SECONDS,
            most_bytes=REPLY_BYTES,
            content=letter.body,
            headers={**headers, **tracing.headers(span.traceparent)},
        )
    except (UrlRefused, UrlUnreachable) as error:
        text = str(error)
    else:
        code, text = reply.status, reply.body.decode("utf-8", "replace")
        wait = retry_after(reply.headers.get("retry-after"), now=clock())
        span.tell({"http.response.status_code": code})
    span.end("" if delivered(code) else "not delivered")
    number = due.attempts + 1
    delay = next_delay(number, chance=chance(), retry_after=wait)
    if delivered(code):
        state = "delivered"
    else:
        state = "exhausted" if code == _GONE or delay is None else "pending"
    return Outcome(
        delivery=due.id,
        number=number,
        at=at,
        seconds=time.monotonic() - began,
        code=code,
        reply=clean(text),
        state=state,
        next_at=clock() + delay if state == "pending" and delay is not None else None,
        off=due.endpoint if code == _GONE else None,
    )
