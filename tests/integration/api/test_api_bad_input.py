"""Every bad input is refused with a code that names the fix; nothing is stored or queued."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from PIL import Image

from tests.integration.api.running import Api
from tests.unit.common.test_url_guard import HOSTILE

pytestmark = pytest.mark.anyio

MODEL = {"model": "darkroom/captioner"}
MIB = 1024 * 1024


def image(kind: str, size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "teal").save(buffer, kind)
    return buffer.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A few bytes that claim to be many pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def jpeg_of(width: int, height: int) -> bytes:
    content = bytearray(image("JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


JPEG = image("JPEG")
FILES: dict[str, tuple[bytes, int, str]] = {
    "a text": (b"hello, world" * 100, 415, "not_an_image"),
    "a page": (b"<html><svg onload=alert(1)></svg></html>", 415, "not_an_image"),
    "an icon": (b"\0\0\x01\0\x01\0\x10\x10" + bytes(64), 415, "not_an_image"),
    "no bytes": (b"", 422, "empty_file"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], 422, "truncated_image"),
    "a JPEG's head": (JPEG[:4], 422, "truncated_image"),
    "half a PNG": (image("PNG")[:-12], 422, "truncated_image"),
    "half a WebP": (image("WEBP")[:-4], 422, "truncated_image"),
    "half a GIF": (image("GIF")[:-4], 422, "truncated_image"),
    "a bomb": (png_of(30_000, 30_000), 422, "image_too_large"),
    "a big bomb": (png_of(2**31 - 1, 2**31 - 1), 422, "image_too_large"),
    "65,535 px": (jpeg_of(65_535, 16), 422, "image_too_large"),
    "65,535 px each way": (jpeg_of(65_535, 65_535), 422, "image_too_large"),
    "41 megapixels": (jpeg_of(8200, 5000), 422, "image_too_large"),
    "33 MiB": (JPEG[:-2] + bytes(33 * MIB) + JPEG[-2:], 413, "file_too_large"),
    "a JPEG of padding": (b"\xff\xd8" + b"\xff" * 100_000 + b"\xff\xd9", 415, "not_an_image"),
    "a PNG of nothing": (image("PNG")[:8] + b"\0\0\0\0abcd\0\0\0\0" * 20_000, 415, "not_an_image"),
    "a GIF of comments": (b"GIF89a" + bytes(7) + b"!\xfe\x01a\0" * 20_000, 415, "not_an_image"),
    "a TIFF's head": (b"II*\0\xff\xff\xff\xff", 415, "not_an_image"),
    "a BMP's head": (b"BM" + bytes(8), 415, "not_an_image"),
}


def refused(reply: Any, status: int, code: str) -> None:
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert (reply.status_code, problem["code"]) == (status, code), reply.text[:500]
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == reply.headers["x-request-id"]
    assert ("retry-after" in reply.headers) == (status == 503)


@pytest.mark.parametrize("name", FILES)
async def test_a_bad_file_is_refused(api: Api, name: str) -> None:
    content, status, code = FILES[name]
    files = {"image": ("photo.jpg", content, "image/jpeg")}
    refused(await api.client.post("/v1/predictions", data=MODEL, files=files), status, code)
    files = {"content": ("photo.jpg", content, "image/jpeg")}
    refused(await api.client.post("/v1/files", files=files), status, code)
    assert await api.nothing_kept()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
async def test_the_true_type_counts_whatever_the_name_says(api: Api, kind: str) -> None:
    files = {"image": ("page.html", image(kind), "text/html")}
    reply = await api.client.post("/v1/predictions", data=MODEL, files=files)
    assert reply.status_code == 202, reply.text


FORMS: dict[str, tuple[dict[str, str], int, str]] = {
    "no model": ({}, 422, "missing_model"),
    "an unknown model": ({"model": "a/b"}, 404, "unknown_model"),
    "a long model": ({"model": "m" * 100_000}, 404, "unknown_model"),
    "an unknown version": ({"version": "f" * 64}, 404, "unknown_model"),
    "a version of another": ({"model": "darkroom/captioner:v9"}, 404, "unknown_model"),
    "an ambiguous version": ({"version": "main"}, 422, "ambiguous_version"),
    "an unknown priority": ({**MODEL, "priority": "urgent"}, 422, "unknown_priority"),
    "a prompt of a megabyte": ({**MODEL, "prompt": "a" * MIB}, 422, "invalid_parameter"),
    "a prompt of five": ({**MODEL, "prompt": "a" * 5 * MIB}, 413, "body_too_large"),
    "a NUL in the prompt": ({**MODEL, "prompt": "a\0b"}, 422, "invalid_parameter"),
    "an unknown parameter": ({**MODEL, "promt": "a"}, 422, "invalid_parameter"),
    "a value too high": ({**MODEL, "temperature": "3"}, 422, "invalid_parameter"),
    "no number": ({**MODEL, "temperature": "warm"}, 422, "invalid_parameter"),
    "metadata that is no JSON": ({**MODEL, "metadata": "{"}, 400, "invalid_json"),
    "metadata that is a list": ({**MODEL, "metadata": "[]"}, 422, "invalid_request"),
    "large metadata": (
        {**MODEL, "metadata": json.dumps({"a": "b" * 17_000})},
        422,
        "metadata_too_large",
    ),
    "deep metadata": (
        {**MODEL, "metadata": '{"a":' * 100 + "1" + "}" * 100},
        422,
        "invalid_request",
    ),
    "a NUL in metadata": ({**MODEL, "metadata": '{"a": ["\\u0000"]}'}, 422, "invalid_text"),
    "a surrogate": ({**MODEL, "metadata": '{"a": "\\ud800"}'}, 422, "invalid_text"),
    "many labels": ({**MODEL, "labels": ",".join("abcdefghijklmnopqrstuvwxyz")}, 422,
                    "invalid_request"),
    "a NUL in a label": ({**MODEL, "labels": "a\0"}, 422, "invalid_text"),
    "an input that is no object": ({**MODEL, "input": "[1]"}, 422, "invalid_request"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
async def test_a_bad_form_is_refused(api: Api, name: str) -> None:
    fields, status, code = FORMS[name]
    files = {"image": ("a.jpg", JPEG)}
    refused(await api.client.post("/v1/predictions", data=fields, files=files), status, code)
    assert await api.nothing_kept()


DATA_URI = "data:image/jpeg;base64," + base64.b64encode(JPEG).decode()
LARGE_URI = "data:image/jpeg;base64," + base64.b64encode(bytes(300_000)).decode()
BODIES: dict[str, tuple[bytes | dict[str, Any], int, str]] = {
    "no JSON": (b"{model: 1}", 400, "invalid_json"),
    "half of it": (b'{"model": "dark', 400, "invalid_json"),
    "nothing": (b"", 400, "invalid_json"),
    "no UTF-8": (b'{"model": "\xff"}', 400, "invalid_json"),
    "deep JSON": (b'{"input": {"a": ' + b"[" * 100_000, 400, "invalid_json"),
    "a list": (b"[]", 422, "invalid_request"),
    "a number as model": ({"model": 1}, 422, "invalid_request"),
    "an unknown field": ({**MODEL, "colour": "red"}, 422, "invalid_request"),
    "no image": ({**MODEL, "input": {}}, 422, "missing_image"),
    "a null image": ({**MODEL, "input": {"image": None}}, 422, "missing_image"),
    "an image that is a number": ({**MODEL, "input": {"image": 1}}, 422, "invalid_image"),
    "a path": ({**MODEL, "input": {"image": "/etc/passwd"}}, 422, "invalid_image"),
    "a surrogate": (
        b'{"model": "darkroom/captioner", "input": {"prompt": "\\ud800"}}',
        422,
        "invalid_text",
    ),
    "a list as prompt": ({**MODEL, "input": {"prompt": [[]]}}, 422, "invalid_parameter"),
    "a data URI of text": (
        {**MODEL, "input": {"image": "data:text/plain;base64,aGVsbG8="}},
        415,
        "not_an_image",
    ),
    "a data URI without base64": (
        {**MODEL, "input": {"image": "data:image/png,abc"}},
        422,
        "invalid_image",
    ),
    "broken base64": ({**MODEL, "input": {"image": DATA_URI[:-3] + "!"}}, 422, "invalid_image"),
    "a long data URI": ({**MODEL, "input": {"image": LARGE_URI}}, 422, "data_uri_too_large"),
    "an unknown file": (
        {**MODEL, "input": {"image": "019aa5ef-97d0-7c33-8a40-61f3a2b9c0de"}},
        404,
        "unknown_file",
    ),
    "five megabytes": ({**MODEL, "input": {"prompt": "a" * 5 * MIB}}, 413, "body_too_large"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_bad_body_is_refused(api: Api, name: str) -> None:
    body, status, code = BODIES[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = await api.client.post(
        "/v1/predictions", content=content, headers={"content-type": "application/json"}
    )
    refused(reply, status, code)
    assert await api.nothing_kept()


@pytest.mark.parametrize("url", [url for url, _ in HOSTILE if "://" in url])
async def test_an_image_url_of_a_hostile_spelling_is_refused(api: Api, url: str) -> None:
    reply = await api.client.post("/v1/predictions", json={**MODEL, "input": {"image": url}})
    refused(reply, 422, "url_refused")
    assert await api.nothing_kept()


async def test_a_hostile_image_url_in_a_form_is_refused(api: Api) -> None:
    reply = await api.client.post(
        "/v1/predictions",
        files={"image": (None, "http://127.0.0.1/"), "model": (None, MODEL["model"])},
    )
    refused(reply, 422, "url_refused")
    assert await api.nothing_kept()


RAW: dict[str, tuple[str, bytes, int, str]] = {
    "no boundary": ("multipart/form-data", b"abc", 400, "invalid_form"),
    "a long boundary": ("multipart/form-data; boundary=" + "b" * 300, b"abc", 400, "invalid_form"),
    "nothing": ("multipart/form-data; boundary=b", b"", 400, "invalid_form"),
    "no form": ("multipart/form-data; boundary=b", b"hello", 400, "invalid_form"),
    "no end": (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\na/b\r\n',
        400,
        "invalid_form",
    ),
    "a part without a name": (
        "multipart/form-data; boundary=b",
        b"--b\r\nContent-Type: text/plain\r\n\r\na/b\r\n--b--",
        400,
        "invalid_form",
    ),
    "a field twice": (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\na/b\r\n' * 2 + b"--b--",
        400,
        "invalid_form",
    ),
    "many parts": (
        "multipart/form-data; boundary=b",
        b"".join(
            b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n1\r\n' % number
            for number in range(200)
        )
        + b"--b--",
        400,
        "invalid_form",
    ),
    "no UTF-8": (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n\xff\r\n--b--',
        422,
        "invalid_text",
    ),
    "another type": ("text/plain", b"hello", 415, "unsupported_media_type"),
    "an urlencoded form": (
        "application/x-www-form-urlencoded",
        b"model=a",
        415,
        "unsupported_media_type",
    ),
}


@pytest.mark.parametrize("name", RAW)
async def test_a_malformed_form_is_refused(api: Api, name: str) -> None:
    kind, content, status, code = RAW[name]
    for path in ("/v1/predictions", "/v1/models/darkroom/captioner/predictions"):
        reply = await api.client.post(path, content=content, headers={"content-type": kind})
        refused(reply, status, code)
    assert await api.nothing_kept()


async def test_a_file_under_another_name_is_refused(api: Api) -> None:
    reply = await api.client.post("/v1/predictions", data=MODEL, files={"photo": ("a.jpg", JPEG)})
    refused(reply, 422, "unknown_input")
    reply = await api.client.post("/v1/files", files={"photo": ("a.jpg", JPEG)})
    refused(reply, 422, "missing_image")
    assert await api.nothing_kept()


async def test_a_form_without_its_image_is_refused(api: Api) -> None:
    reply = await api.client.post("/v1/predictions", files={"model": (None, MODEL["model"])})
    refused(reply, 422, "missing_image")


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(api: Api) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        while read < 1000:
            read += 1
            yield bytes(MIB)

    headers = {"content-type": "multipart/form-data; boundary=b"}
    reply = await api.client.post("/v1/predictions", content=endless(), headers=headers)
    refused(reply, 413, "file_too_large")
    assert read < 40
    read = 0
    reply = await api.client.post(
        "/v1/predictions", content=endless(), headers={**headers, "content-length": str(100 * MIB)}
    )
    refused(reply, 413, "body_too_large")
    assert read == 0


async def test_uploads_beyond_the_budget_are_put_off(api: Api) -> None:
    with api.parts.uploads.hold() as others:
        others.add(api.parts.settings.max_upload_bytes_in_flight)
        files = {"image": ("a.jpg", JPEG)}
        refused(
            await api.client.post("/v1/predictions", data=MODEL, files=files), 503, "uploads_busy"
        )
    assert await api.nothing_kept()
    await api.submit(JPEG)
    assert api.parts.uploads.held == 0


async def test_what_is_not_there_is_a_problem_too(api: Api) -> None:
    refused(await api.client.get("/v1/prediction"), 404, "not_found")
    reply = await api.client.patch("/v1/predictions")
    refused(reply, 405, "method_not_allowed")
    assert "POST" in reply.headers["allow"]
