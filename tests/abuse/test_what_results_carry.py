"""What a stranger's file may bring along: none of it is in a result, and no result runs as ours."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from tests.abuse.bad_files import HTML, SVG, picture
from tests.abuse.marked_pictures import CANARY, marked, parts
from tests.e2e.stack import PROJECT, Stack, embedded
from tests.tiny_models import build_tiny_diffusion

SKETCH = "darkroom/pencil-sketch"
MODELS = {SKETCH: {}, "me/same": {}, "tiny/diffusion": {"prompt": "a dog"}}
# What a file of pixels consists of: tables and frames of a JPEG (and its JFIF head), and so on.
PIXELS = {
    "jpeg": {"E0", "DB", "C0", "C2", "C4", "DD"},
    "png": {"IHDR", "PLTE", "IDAT", "IEND"},
    "webp": {"VP8", "VP8L"},
}
SAME = """
from consumers.custom_infer import CustomModel


class Same(CustomModel):
    def infer(self, image):
        return image
"""
STRANGE = "".join(map(chr, range(1, 32))) + "\x7f\u202eabc\u2066\ufeff\uffff\U0010ffff {0} %s"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Of ours, of a user's (it gives back what it gets), and of diffusion: a model each."""
    folder = tmp_path_factory.mktemp("stack")
    build_tiny_diffusion(folder / "diffusion")
    (folder / "same.py").write_text(SAME)
    names = folder / "model_names.txt"
    names.write_text(
        f"{SKETCH} task=custom path={PROJECT}/consumers/custom_infer/pencil_sketch.py makes=image\n"
        "me/same task=custom path=same.py makes=image\n"
        "tiny/diffusion path=diffusion steps=2\n"
        "darkroom/echo task=echo\n"
    )
    settings = {"DARKROOM_TITLE_MODEL": "darkroom/echo", "DARKROOM_SLOTS": "4"}
    running = embedded(folder, DARKROOM_MODEL_NAMES=str(names), **settings)
    running.start()
    yield running
    running.stop()


def result(stack: Stack, id: str) -> httpx2.Response:
    """What the access link answers once the job succeeded."""
    ended = stack.ended(id)
    assert ended["status"] == "succeeded", ended
    with stack.client() as client:
        return client.get(ended["access_link"]).raise_for_status()


def assert_harmless(reply: httpx2.Response) -> None:
    """No browser runs it, takes it for another type, or tells others of the link."""
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert reply.headers["referrer-policy"] == "no-referrer"


def test_nothing_but_pixels_comes_out(stack: Stack) -> None:
    jobs = {}
    for kind in ("JPEG", "PNG", "WEBP"):
        content = marked(kind)
        assert content.count(CANARY.encode()) > 1  # else this shows nothing
        for model, inputs in MODELS.items():
            for output_format in PIXELS:
                id = stack.submit(content, model, output_format=output_format, **inputs)["id"]
                jobs[id] = (model, kind, output_format)
    for id, (model, kind, output_format) in jobs.items():
        reply = result(stack, id)
        made = Image.open(io.BytesIO(reply.content))
        case = (model, kind, output_format, made.info)
        assert set(parts(reply.content)) <= PIXELS[output_format], case
        assert CANARY.encode() not in reply.content, case
        assert made.getexif() == {}, case
        assert reply.headers["content-type"] == f"image/{output_format}"
        assert reply.headers["content-disposition"].startswith(f'inline; filename="{id}-0.')
        assert_harmless(reply)


@pytest.mark.parametrize("head", [picture("PNG"), picture("WEBP"), picture("JPEG")])
def test_a_page_with_an_images_head_comes_back_as_an_image(stack: Stack, head: bytes) -> None:
    with stack.client() as client:
        files = {"content": ("page.html", head + HTML, "text/html")}
        reply = client.post("/v1/files", files=files)
        assert reply.status_code == 201, reply.text
        stored = reply.json()
        assert stored["content_type"] in ("image/png", "image/webp", "image/jpeg")
        assert client.get(stored["urls"]["get"]).headers["content-type"] == "application/json"
        body = {"model": "me/same", "input": {"image": stored["id"]}}
        job = client.post("/v1/predictions", json=body).json()
    reply = result(stack, job["id"])
    assert reply.headers["content-type"] == "image/jpeg"
    assert b"<script" not in reply.content
    assert_harmless(reply)


@pytest.mark.parametrize("content", [HTML, SVG, b"\xff\xd8\xff\xe0" + HTML, b"GIF89a" + SVG])
def test_what_is_no_image_is_stored_nowhere(stack: Stack, content: bytes) -> None:
    def stored() -> set[Path]:
        return set((stack.folder / "data").rglob("objects/inputs/**/*"))

    before = stored()
    with stack.client() as client:
        for path, name in (("/v1/files", "content"), ("/v1/predictions", "image")):
            files = {name: ("a.png", content, "image/png")}
            reply = client.post(path, files=files, data={"model": SKETCH})
            assert 400 <= reply.status_code < 500, reply.text
            assert reply.headers["content-type"] == "application/problem+json"
    assert stored() == before


@pytest.mark.parametrize("text", [HTML.decode(), SVG.decode(), STRANGE], ids=["HTML", "SVG", "any"])
def test_a_text_comes_back_as_it_went_in_and_as_nothing_but_text(stack: Stack, text: str) -> None:
    with stack.client() as client:
        body = {"model": "darkroom/echo", "input": {"prompt": text}}
        job = client.post("/v1/predictions", json=body).json()
    reply = result(stack, job["id"])
    assert reply.content.decode() == text
    assert stack.job(job["id"])["output"] == text
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert_harmless(reply)
