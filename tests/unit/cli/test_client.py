from __future__ import annotations

import json
import socket

import httpx2
import pytest

from cli.client import Client, _pause_if_away, _pause_if_busy, _refusal
from cli.errors import ItemFailed, NotAllowed, ServerUnavailable, UsageWrong

pytestmark = pytest.mark.anyio


def reply(status: int, code: str = "some_code", **headers: str) -> httpx2.Response:
    problem = json.dumps({"detail": "Do this instead.", "code": code, "status": status})
    return httpx2.Response(status, headers=headers, content=problem)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, "some_code", NotAllowed),
        (403, "some_code", NotAllowed),
        (404, "unknown_model", UsageWrong),
        (404, "unknown_prediction", ItemFailed),
        (409, "some_code", ItemFailed),
        (413, "file_too_large", ItemFailed),
        (415, "not_an_image", ItemFailed),
        (422, "truncated_image", ItemFailed),
        (500, "internal_error", ItemFailed),
    ],
)
def test_a_refusal_says_what_the_server_said(
    status: int, code: str, error: type[Exception]
) -> None:
    refusal = _refusal(reply(status, code))
    assert type(refusal) is error
    assert str(refusal) == "Do this instead."


def test_an_item_keeps_the_stable_code() -> None:
    refusal = _refusal(reply(422, "truncated_image"))
    assert isinstance(refusal, ItemFailed)
    assert refusal.code == "truncated_image"


def test_a_reply_without_a_problem_document_is_named_by_its_status() -> None:
    refusal = _refusal(httpx2.Response(418, content=b"<html>"))
    assert isinstance(refusal, ItemFailed)
    assert (str(refusal), refusal.code) == ("HTTP 418 I'm a teapot", "http_418")


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_server_that_is_away_is_asked_again_when_it_says_so(status: int) -> None:
    assert _pause_if_away(_refusal(reply(status))) is True
    assert _pause_if_away(_refusal(reply(status, **{"Retry-After": "7"}))) == 7.0
    assert _pause_if_busy(_refusal(reply(status))) is False


def test_a_busy_server_is_asked_again_when_it_says_so() -> None:
    assert _pause_if_busy(_refusal(reply(429))) is True
    assert _pause_if_busy(_refusal(reply(429, **{"Retry-After": "30"}))) == 30.0
    assert _pause_if_busy(_refusal(reply(409, **{"Retry-After": "1"}))) == 1.0
    assert _pause_if_away(_refusal(reply(429))) is False


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://host", "http://"])
def test_an_address_that_is_none_names_the_fix(url: str) -> None:
    with pytest.raises(UsageWrong, match="--url"):
        Client(url)


async def test_a_server_that_is_gone_is_given_up_after_the_patience() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # bound, and nobody listens
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        async with Client(url, patience=0.5) as client:
            with pytest.raises(ServerUnavailable, match="does not answer"):
                await client.models()
