"""One job's journey, in its own order, on both stacks."""

from __future__ import annotations

import base64
import io
import time

import httpx2
import pytest
from PIL import Image

from models.shapes.draw import draw
from tests.e2e.stack import Stack, eventually

SEED = 20261121


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def picture(number: int) -> tuple[bytes, str]:
    """A drawn picture and its one right caption."""
    image, caption = draw(SEED + number)
    return png(image), caption


def test_a_posted_image_is_captioned_behind_its_link(stack: Stack) -> None:
    image, caption = picture(0)

    # 1, 2: the request is checked, stored, accepted, and answered at once
    with stack.client() as client:
        reply = client.post(
            "/v1/predictions",
            files={"image": ("photo.png", image)},
            data={"model": "darkroom/shapes"},
        )
        assert reply.status_code == 202
        job = reply.json()
        assert reply.headers["location"].endswith(f"/v1/predictions/{job['id']}")
        assert job["status"] == "starting"
        assert job["output"] is None

        # 3, 4: what was accepted can be read again, and listed
        assert stack.job(job["id"])["id"] == job["id"]
        listed = client.get("/v1/predictions").json()["results"]
        assert job["id"] in [one["id"] for one in listed]

        # 10: the link says "not yet" and when to ask again, until it answers
        def look() -> httpx2.Response | None:
            answer = client.get(job["access_link"])
            if answer.status_code == 202:
                assert int(answer.headers["retry-after"]) >= 1
                return None
            return answer

        answer = eventually(look)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.text.strip() == caption

    # 9: the ledger tells the same
    ended = stack.job(job["id"])
    assert ended["status"] == "succeeded"
    assert ended["output"] == caption
    assert ended["error"] is None
    assert ended["attempt"] == 1
    assert ended["created_at"] <= ended["started_at"] <= ended["completed_at"]
    assert ended["metrics"]["predict_time"] > 0


def test_with_prefer_wait_the_result_comes_in_one_call(stack: Stack) -> None:
    image, caption = picture(1)
    with stack.client() as client:
        reply = client.post(
            "/v1/predictions",
            files={"image": image},
            data={"model": "darkroom/shapes"},
            headers={"Prefer": "wait=60"},
        )
    assert reply.status_code == 201
    assert reply.json()["status"] == "succeeded"
    assert reply.json()["output"] == caption


def test_captions_of_drawn_shapes_are_exactly_right(stack: Stack) -> None:
    captions = {}
    for number in range(2, 22):
        image, caption = picture(number)
        captions[stack.submit(image, "darkroom/shapes")["id"]] = caption
    assert {id: stack.ended(id)["output"] for id in captions} == captions


def test_the_bundled_model_reads_another_programs_drawing(stack: Stack) -> None:
    image = Image.new("RGB", (320, 320), (250, 250, 250))
    for x in range(320):
        for y in range(320):
            if (x - 160) ** 2 + (y - 160) ** 2 < 70**2:
                image.putpixel((x, y), (220, 40, 40))
    job = stack.submit(png(image), "darkroom/shapes")
    assert stack.ended(job["id"])["output"] == "a red circle on a white background"


def test_the_describer_alias_answers_with_a_title(stack: Stack) -> None:
    image, caption = picture(22)
    with stack.client() as client:
        for text in (
            base64.b64encode(image).decode(),
            "data:image/png;base64," + base64.b64encode(image).decode(),
        ):
            reply = client.post("/api/v1/predictions", json={"image": text})
            assert (reply.status_code, reply.json()) == (200, {"title": caption})


@pytest.mark.parametrize("priority", ["0", "5", "-3", "high"])
def test_the_diffusion_alias_answers_with_a_link_to_an_image(stack: Stack, priority: str) -> None:
    image = png(Image.new("RGB", (96, 64), "teal"))
    with stack.client() as client:
        reply = client.post(
            "/api/diffusion",
            params={"model_name": "tiny/diffusion", "prompt": "a cat", "priority": priority},
            files={"image": ("photo.png", image, "image/png")},
        )
        assert reply.status_code == 200
        body = reply.json()
        assert set(body) == {"image_id", "message", "access_link"}
        ended = stack.ended(body["image_id"])
        assert ended["status"] == "succeeded", ended
        result = client.get(body["access_link"], follow_redirects=True)
    assert Image.open(io.BytesIO(result.content)).size == (96, 64)
    assert Image.open(io.BytesIO(result.content)).getexif() == {}


def test_img2img_tells_its_progress_and_repeats_with_its_seed(stack: Stack) -> None:
    image = png(Image.new("RGB", (64, 64), "olive"))
    outputs = []
    for _ in range(2):
        job = stack.submit(image, "tiny/diffusion", prompt="a dog", steps="4", seed="7")
        assert stack.ended(job["id"])["status"] == "succeeded"
        with stack.client() as client:
            outputs.append(client.get(job["access_link"], follow_redirects=True).content)
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("model", ["tiny/blip", "tiny/vlm"])
def test_other_captioners_run(stack: Stack, model: str) -> None:
    job = stack.submit(png(Image.new("RGB", (64, 48), "navy")), model, max_new_tokens="5")
    ended = stack.ended(job["id"])
    assert ended["status"] == "succeeded", ended
    assert isinstance(ended["output"], str)


def test_custom_models_give_texts_and_images(stack: Stack) -> None:
    image = png(Image.new("RGB", (64, 48), "navy"))
    named = stack.ended(stack.submit(image, "darkroom/palette")["id"])
    assert "navy" in named["output"] or "blue" in named["output"]
    sketch = stack.submit(image, "darkroom/pencil-sketch")
    assert stack.ended(sketch["id"])["status"] == "succeeded"
    with stack.client() as client:
        drawn = client.get(sketch["access_link"], follow_redirects=True)
    assert Image.open(io.BytesIO(drawn.content)).size == (64, 48)


def test_damage_that_only_decoding_shows_fails_the_job_at_its_first_attempt(stack: Stack) -> None:
    whole = png(Image.effect_noise((300, 300), 90).convert("RGB"))
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(2000) + whole[middle + 2000 :]
    ended = stack.ended(stack.submit(damaged, "darkroom/shapes")["id"])
    assert (ended["status"], ended["error_code"], ended["attempt"]) == ("failed", "bad_input", 1)
    assert ended["error"]


def test_a_canceled_job_that_runs_is_stopped(stack: Stack) -> None:
    job = _echo(stack, delay="50")
    eventually(lambda: stack.job(job["id"])["status"] == "processing")
    began = time.monotonic()
    with stack.client() as client:
        canceled = client.post(f"/v1/predictions/{job['id']}/cancel")
    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    after = _echo(stack, prompt="next")
    assert stack.ended(after["id"], seconds=40)["output"] == "next"
    assert time.monotonic() - began < 45  # the engine did not sleep its 50 s to the end


def _echo(stack: Stack, **fields: str) -> dict[str, str]:
    with stack.client() as client:
        reply = client.post("/v1/predictions", json={"model": "darkroom/echo", "input": {**fields}})
    assert reply.status_code == 202, reply.text
    job: dict[str, str] = reply.json()
    return job


def test_a_model_that_cannot_load_keeps_its_jobs_and_says_why(stack: Stack) -> None:
    job = stack.submit(png(Image.new("RGB", (64, 48))), "tiny/missing")

    def reason() -> str | None:
        found: str | None = stack.job(job["id"])["queue"]["reason"]
        return found if found and "tiny/missing" in found else None

    assert eventually(reason)
    with stack.client() as client:
        model = client.get("/v1/models/tiny/missing").json()
    assert model["state"] == "failed"
    assert model["reason"]
    assert stack.job(job["id"])["status"] == "starting"
