"""What a stack does while something it needs is gone, and once it is back."""

from __future__ import annotations

import io
import random
import uuid
from typing import Any

import httpx2
from PIL import Image

from tests.e2e.stack import eventually
from tests.faults.asking import ECHO
from tests.faults.looking import all_is_well
from tests.faults.stack import FaultStack

BACK_SECONDS = 30.0  # promise 7: by when work goes on after the return of what was gone
_WAIT_SECONDS = 10


def ask(
    stack: FaultStack, *, image: bytes | None = None, wait: int = 0, delay: float = 0.0
) -> httpx2.Response:
    """One job of an echo that takes `delay` seconds, in the journal if it was accepted.

    Its priority is high, so that it need not wait for the end of what an outage left behind.
    """
    request = uuid.uuid4().hex
    fields = {"model": ECHO, "priority": "high"}
    body: dict[str, Any] = {"json": {**fields, "input": {"prompt": request, "delay": delay}}}
    if image is not None:
        body = {"data": {**fields, "prompt": request}, "files": {"image": image}}
    headers = {"Prefer": f"wait={wait}"} if wait else {}
    with httpx2.Client(base_url=stack.urls[0], timeout=90, trust_env=False) as client:
        reply = client.post("/v1/predictions", headers=headers, **body)
    if reply.status_code in (201, 202):
        stack.journal.accepted(reply.json()["id"], request=request, expected=request)
    return reply


def refused(reply: httpx2.Response, *codes: str) -> None:
    """It was answered that a dependency is gone, and when to come again."""
    assert reply.status_code == 503, reply.text
    assert int(reply.headers["retry-after"]) > 0
    assert reply.json()["code"] in codes


def works_again(stack: FaultStack, *, image: bytes | None = None) -> None:
    """A job that is sent now is accepted and done within the time that is promised."""

    def done() -> bool:
        return ask(stack, image=image, wait=_WAIT_SECONDS).status_code == 201

    eventually(done, seconds=BACK_SECONDS)


def unharmed(stack: FaultStack) -> None:
    """All is well, and no process has died."""
    all_is_well(stack)
    assert stack.supervisor.deaths == []


def large_picture(width: int) -> bytes:
    """A PNG that cannot be made small: 300 bytes a column."""
    buffer = io.BytesIO()
    Image.frombytes("RGB", (width, 100), random.randbytes(width * 300)).save(buffer, "PNG")
    return buffer.getvalue()
