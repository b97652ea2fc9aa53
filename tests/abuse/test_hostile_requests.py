"""Requests that no honest client sends: each is refused with a problem that names the fix."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.abuse.over_tcp import exchange, over_tcp
from tests.integration.api.running import Api

pytestmark = pytest.mark.anyio

ECHO = '"model": "darkroom/echo"'
LONG = 64 * 1024
BOUNDARY = "bound"


def part(name: str, content: str = "x", more: str = "") -> str:
    return (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{content}\r\n'
    )


def form(*parts: str) -> str:
    return "".join(parts) + f"--{BOUNDARY}--\r\n"


MODEL_PART = part("model", "darkroom/echo")

# What is sent as JSON to POST /v1/predictions, and the codes that may answer it.
BODIES: dict[str, tuple[bytes | str, set[str]]] = {
    "nothing": ("", {"invalid_json"}),
    "half": ('{"model": ', {"invalid_json"}),
    "two values": (f"{{{ECHO}}}{{{ECHO}}}", {"invalid_json"}),
    "a null byte": (f'{{{ECHO}, "input": {{"prompt": "a\\u0000b"}}}}', {"invalid_parameter"}),
    "a null byte in metadata": (f'{{{ECHO}, "metadata": {{"a\\u0000": 1}}}}', {"invalid_text"}),
    "a null byte in a label": (f'{{{ECHO}, "labels": ["\\u0000"]}}', {"invalid_text"}),
    "a null byte as a model": ('{"model": "a\\u0000/b"}', {"unknown_model"}),
    "a raw null byte": (b'{"model": "a\0b"}', {"invalid_json"}),
    "a lone surrogate": (f'{{{ECHO}, "input": {{"prompt": "\\ud800"}}}}', {"invalid_text"}),
    "a surrogate as bytes": (b'{"model": "\xed\xa0\x80"}', {"invalid_text"}),
    "no UTF-8": (b'{"model": "\xff\xfe"}', {"invalid_json"}),
    "UTF-16": ('{"model": "x"}'.encode("utf-16"), {"invalid_json"}),
    "NaN": (f'{{{ECHO}, "input": {{"delay": NaN}}}}', {"invalid_json"}),
    "Infinity": (f'{{{ECHO}, "start_by": Infinity}}', {"invalid_json"}),
    "minus infinity": (f'{{{ECHO}, "metadata": {{"a": -Infinity}}}}', {"invalid_json"}),
    "a float beyond floats": (
        f'{{{ECHO}, "input": {{"delay": 1e999}}}}',
        {"invalid_request"},
    ),
    "a number of 5,000 digits": (
        f'{{{ECHO}, "input": {{"delay": {"9" * 5000}}}}}',
        {"invalid_request"},
    ),
    "a deadline of 300 digits": (
        f'{{{ECHO}, "start_by": {"9" * 300}}}',
        {"invalid_json", "invalid_start_by", "invalid_request"},
    ),
    "a deadline beyond time": (f'{{{ECHO}, "start_by": 1e300}}', {"invalid_start_by"}),
    "depth in metadata": (
        f'{{{ECHO}, "metadata": {{"a": {"[" * 500}{"]" * 500}}}}}',
        {"invalid_request"},
    ),
    "depth beyond the parser": ("[" * 100_000, {"invalid_json", "invalid_request"}),
    "depth beyond the parser, in objects": ('{"a":' * 100_000, {"invalid_json", "invalid_request"}),
    "a list for an object": ("[]", {"invalid_request"}),
    "a list for a parameter": (f'{{{ECHO}, "input": {{"prompt": []}}}}', {"invalid_parameter"}),
    "an unknown field": (f'{{{ECHO}, "__proto__": {{}}}}', {"invalid_request"}),
    "an image that is a number": (f'{{{ECHO}, "input": {{"image": 7}}}}', {"invalid_image"}),
    "an image that is a file here": (
        f'{{{ECHO}, "input": {{"image": "file:///etc/passwd"}}}}',
        {"invalid_image", "url_refused"},
    ),
    "21 labels": (f'{{{ECHO}, "labels": {json.dumps(["a"] * 21)}}}', {"invalid_request"}),
    "much metadata": (
        f'{{{ECHO}, "metadata": {{"a": "{"b" * 17_000}"}}}}',
        {"metadata_too_large"},
    ),
    "five megabytes": (f'{{{ECHO}, "metadata": {{"a": "{"b" * 5_000_000}"}}}}', {"body_too_large"}),
}

# The same with forms.
FORMS: dict[str, tuple[str, set[str]]] = {
    "10,000 parts": (form(*(part(f"p{n}") for n in range(10_000))), {"invalid_form"}),
    "a part twice": (form(MODEL_PART, MODEL_PART), {"invalid_form"}),
    "a part and a file of one name": (
        form(MODEL_PART, part("image"), part("image", more='; filename="a"')),
        {"invalid_form"},
    ),
    "no name": (form(f"--{BOUNDARY}\r\nContent-Type: text/plain\r\n\r\nx\r\n"), {"invalid_form"}),
    "no end": (MODEL_PART, {"invalid_form"}),
    "no parts": (f"--{BOUNDARY}--\r\n", {"missing_model", "invalid_form"}),
    "no boundary in it": ("x" * 1000, {"invalid_form"}),
    "a part's header without end": (
        f"--{BOUNDARY}\r\nX-Long: " + "x" * 1_000_000,
        {"invalid_form", "body_too_large"},
    ),
    "a part with 100,000 headers": (
        f"--{BOUNDARY}\r\n" + "X-A: b\r\n" * 100_000 + "\r\nx\r\n" + f"--{BOUNDARY}--\r\n",
        {"invalid_form", "body_too_large"},
    ),
    "a null byte in a part's name": (
        form(MODEL_PART, part("a\0b")),
        {"invalid_form", "invalid_parameter", "invalid_text"},
    ),
    "a null byte in a value": (form(MODEL_PART, part("prompt", "a\0b")), {"invalid_parameter"}),
    "metadata that is no JSON": (form(MODEL_PART, part("metadata", "{")), {"invalid_json"}),
    "metadata that is deep": (
        form(MODEL_PART, part("metadata", '{"a":' * 50_000)),
        {"invalid_json", "invalid_request"},
    ),
    "an unknown file": (form(MODEL_PART, part("x", more='; filename="a"')), {"unknown_input"}),
    "a file called ../../etc/passwd that is none": (
        form(MODEL_PART, part("image", more='; filename="../../etc/passwd"')),
        {"not_an_image"},
    ),
}

HEAD = "POST /v1/predictions HTTP/1.1\r\nHost: here\r\n"
CHUNKED = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"

# Whole requests as bytes, the status of the answer, and its code.
REQUESTS: dict[str, tuple[str, int, str]] = {
    "no HTTP": ("hello\r\n\r\n", 400, "invalid_http"),
    "HTTP of the future": ("GET /livez HTTP/9.9\r\nHost: a\r\n\r\n", 400, "invalid_http"),
    "TLS": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "invalid_http"),
    "a proxy's tunnel": ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_http"),
    "two lengths": (
        f"{HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        400,
        "invalid_http",
    ),
    "a length and chunks": (
        f"{HEAD}Content-Length: 4\r\n{CHUNKED}\r\n0\r\n\r\n",
        400,
        "invalid_http",
    ),
    "a negative length": (f"{HEAD}Content-Length: -1\r\n\r\n", 400, "invalid_http"),
    "a length that is no number": (f"{HEAD}Content-Length: ten\r\n\r\n", 400, "invalid_http"),
    "a length beyond numbers": (f"{HEAD}Content-Length: {'9' * 40}\r\n\r\n", 400, "invalid_http"),
    "a length far too large": (
        f"{HEAD}Content-Type: application/json\r\nContent-Length: 9999999999\r\n\r\n",
        413,
        "body_too_large",
    ),
    "a chunk of no size": (f"{HEAD}{CHUNKED}\r\nxyz\r\n", 400, "invalid_http"),
    "a header folded": ("GET /livez HTTP/1.1\r\nHost: a\r\nX:\0\r\n\r\n", 400, "invalid_http"),
    "a header of 64 kB": (
        f"GET /livez HTTP/1.1\r\nHost: a\r\nX-Long: {'x' * LONG}\r\n\r\n",
        431,
        "head_too_large",
    ),
    "a key of 64 kB": (
        f"GET /v1/predictions HTTP/1.1\r\nAuthorization: Bearer {'x' * LONG}\r\n\r\n",
        431,
        "head_too_large",
    ),
    "10,000 headers": (
        "GET /livez HTTP/1.1\r\nHost: a\r\n" + "X-Same: again\r\n" * 10_000 + "\r\n",
        431,
        "head_too_large",
    ),
    "a query of 64 kB": (
        f"GET /v1/predictions?model={'x' * LONG} HTTP/1.1\r\nHost: a\r\n\r\n",
        431,
        "head_too_large",
    ),
    "a path of 60 kB": (f"GET /{'x' * 60_000} HTTP/1.1\r\nHost: a\r\n\r\n", 404, "not_found"),
    "a null byte in an id": (
        "GET /v1/predictions/a%00b HTTP/1.1\r\nHost: a\r\n\r\n",
        404,
        "unknown_prediction",
    ),
    "bytes that are no UTF-8 in an id": (
        "GET /v1/files/%ff%fe%ed%a0%80 HTTP/1.1\r\nHost: a\r\n\r\n",
        404,
        "unknown_file",
    ),
    "a null byte in a filter": (
        "GET /v1/predictions?label=%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        422,
        "invalid_request",
    ),
    "a cursor of another's making": (
        "GET /v1/predictions?cursor=AAAA%00%ff HTTP/1.1\r\nHost: a\r\n\r\n",
        422,
        "invalid_request",
    ),
    "a time before time": (
        "GET /v1/predictions?created_after=0001-01-01T00:00:00%2B23:59 HTTP/1.1\r\n"
        "Host: a\r\nX: y\r\n\r\n",
        200,
        "",
    ),
    "a way up": (
        "GET /docs/assets/../../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
        404,
        "not_found",
    ),
    "a way up, encoded": (
        "GET /docs/assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
        404,
        "not_found",
    ),
    "a way up, encoded twice": (
        "GET /docs/assets/%252e%252e%252fetc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
        404,
        "not_found",
    ),
    "a null byte in an asset": (
        "GET /docs/assets/a%00.css HTTP/1.1\r\nHost: a\r\n\r\n",
        404,
        "not_found",
    ),
    "an asset with a name of 5 kB": (
        f"GET /docs/assets/{'x' * 5000} HTTP/1.1\r\nHost: a\r\n\r\n",
        404,
        "not_found",
    ),
    "an absolute path": (
        "GET /docs/assets//etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
        404,
        "not_found",
    ),
    "two slashes": ("GET //livez HTTP/1.1\r\nHost: a\r\n\r\n", 404, "not_found"),
    "a backslash": ("GET /..%5clivez HTTP/1.1\r\nHost: a\r\n\r\n", 404, "not_found"),
    "TRACE": ("TRACE /v1/predictions HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed"),
    "a WebSocket": (
        "GET /v1/nothing HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        404,
        "not_found",
    ),
    "two content types": (
        f"{HEAD}Content-Type: text/plain\r\nContent-Type: application/json\r\n"
        "Content-Length: 2\r\n\r\n{}",
        415,
        "unsupported_media_type",
    ),
}


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with over_tcp(tmp_path_factory.mktemp("hostile")) as api:
        yield api


async def refused(api: Api, reply: Any, codes: set[str]) -> None:
    """A 4xx of the documented kind, and nothing kept."""
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert problem["code"] in codes, reply.text[:500]
    assert 400 <= reply.status_code < 500
    assert problem["status"] == reply.status_code
    assert problem["detail"]
    assert len(reply.content) < 2000  # what came in does not come back
    assert await api.nothing_kept()
    assert api.parts.uploads.held == 0


@pytest.mark.parametrize("name", BODIES)
async def test_a_hostile_json_body_is_refused(api: Api, name: str) -> None:
    body, codes = BODIES[name]
    content = body.encode() if isinstance(body, str) else body
    headers = {"Content-Type": "application/json"}
    reply = await api.client.post("/v1/predictions", content=content, headers=headers)
    await refused(api, reply, codes)


@pytest.mark.parametrize("name", FORMS)
async def test_a_hostile_form_is_refused(api: Api, name: str) -> None:
    body, codes = FORMS[name]
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    reply = await api.client.post("/v1/predictions", content=body.encode(), headers=headers)
    await refused(api, reply, codes)


@pytest.mark.parametrize("boundary", ["", "x" * 5000, '"', "a\tb", "é"])
async def test_a_hostile_boundary_is_refused(api: Api, boundary: str) -> None:
    headers = [(b"Content-Type", f"multipart/form-data; boundary={boundary}".encode())]
    reply = await api.client.post("/v1/predictions", content=b"x", headers=headers)
    await refused(api, reply, {"invalid_form"})


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_hostile_request_is_refused(api: Api, name: str) -> None:
    sent, status, code = REQUESTS[name]
    reply = await exchange(api, sent.encode("latin-1"))
    head, _, body = reply.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status, reply[:500]
    if code:
        assert b"content-type: application/problem+json" in head.lower(), reply[:500]
        assert json.loads(body)["code"] == code
    assert (await api.client.get("/livez")).status_code == 200


async def test_headers_that_stand_twice_do_not_confuse(api: Api) -> None:
    reply = await exchange(
        api,
        b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\nX-Request-Id: one\r\n"
        b"X-Request-Id: two\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
    )
    assert reply.startswith(b"HTTP/1.1 200")
