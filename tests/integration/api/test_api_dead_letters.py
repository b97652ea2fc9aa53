"""Dead letters over HTTP: seen by cause, and dealt with one by one, by filter or all."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from PIL import Image

from tests.integration.api.running import Api

pytestmark = pytest.mark.anyio


async def failed(api: Api, jpeg: bytes, code: str, model: str = "darkroom/captioner") -> Any:
    """A prediction that failed with this code."""
    prediction = await api.submit(jpeg, model)
    await api.fail(prediction["id"], code, f"It was {code}.")
    return await api.ended(prediction)


async def letters(api: Api, **filters: str) -> list[str]:
    reply = await api.client.get("/v1/dead-letters", params=filters)
    assert reply.status_code == 200, reply.text
    return [letter["id"] for letter in reply.json()["results"]]


async def test_a_letter_tells_cause_attempts_and_what_to_do_with_it(api: Api, jpeg: bytes) -> None:
    crashed = await failed(api, jpeg, "engine_crashed")
    await failed(api, jpeg, "bad_input")
    body = (await api.client.get("/v1/dead-letters")).json()
    base = "http://darkroom.test/v1"
    assert body == {
        "next": None,
        "previous": None,
        "results": [
            {
                "id": crashed["id"],
                "model": "darkroom/captioner",
                "cause": "engine_crashed",
                "error": "It was engine_crashed.",
                "attempts": 0,
                "created_at": crashed["created_at"],
                "failed_at": crashed["completed_at"],
                "data_removed": False,
                "urls": {
                    "get": f"{base}/predictions/{crashed['id']}",
                    "replay": f"{base}/dead-letters/{crashed['id']}/replay",
                    "discard": f"{base}/dead-letters/{crashed['id']}/discard",
                },
            }
        ],
    }


async def test_groups_show_each_cause_of_each_model_with_a_sample(api: Api, jpeg: bytes) -> None:
    await failed(api, jpeg, "engine_crashed")
    second = await failed(api, jpeg, "engine_crashed")
    other = await failed(api, jpeg, "out_of_memory", "darkroom/painter")
    groups = (await api.client.get("/v1/dead-letters/groups")).json()["results"]
    assert [(g["model"], g["cause"], g["count"], g["sample"]["id"]) for g in groups] == [
        ("darkroom/captioner", "engine_crashed", 2, second["id"]),
        ("darkroom/painter", "out_of_memory", 1, other["id"]),
    ]
    only = await api.client.get("/v1/dead-letters/groups", params={"model": "darkroom/painter"})
    assert [group["count"] for group in only.json()["results"]] == [1]


async def test_the_list_is_filtered_and_paged(api: Api, jpeg: bytes) -> None:
    crashed = await failed(api, jpeg, "engine_crashed")
    full = await failed(api, jpeg, "out_of_memory", "darkroom/painter")
    assert await letters(api) == [full["id"], crashed["id"]]
    assert await letters(api, cause="engine_crashed") == [crashed["id"]]
    assert await letters(api, model="darkroom/painter") == [full["id"]]
    assert await letters(api, failed_after=full["completed_at"], cause="engine_crashed") == []
    assert await letters(api, created_before="2020-01-01T00:00:00Z") == []


async def test_letters_are_discarded_by_id_by_filter_and_all(api: Api, jpeg: bytes) -> None:
    one, two, three, four, five = [
        (await failed(api, jpeg, code))["id"] for code in ("a", "b", "b", "c", "d")
    ]
    reply = await api.client.post(f"/v1/dead-letters/{one}/discard")
    assert (reply.status_code, reply.json()) == (200, {"done": 1, "remaining": 0, "ids": [one]})
    reply = await api.client.post("/v1/dead-letters/discard", json={"cause": "b"})
    assert sorted(reply.json()["ids"]) == sorted([two, three])
    reply = await api.client.post("/v1/dead-letters/discard", json={"ids": [four, one]})
    assert reply.json() == {"done": 1, "remaining": 0, "ids": [four]}
    assert await letters(api) == [five]
    assert (await api.client.get(f"/v1/predictions/{one}")).json()["status"] == "failed"
    reply = await api.client.post("/v1/dead-letters/discard", json={"all": True})
    assert reply.json()["ids"] == [five]
    reply = await api.client.post("/v1/dead-letters/discard", json={"all": True})
    assert (reply.status_code, reply.json()["done"]) == (200, 0)


async def test_one_call_does_so_many_and_says_how_many_are_left(
    api: Api, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.dead_letters.MOST_AT_ONCE", 2)
    for _ in range(3):
        await failed(api, jpeg, "engine_crashed")
    left = []
    for _ in range(2):
        reply = (await api.client.post("/v1/dead-letters/discard", json={"all": True})).json()
        left.append((reply["done"], reply["remaining"]))
    assert left == [(2, 1), (1, 0)]


@pytest.mark.parametrize("verb", ["discard", "replay"])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_request"),
        ({"all": True, "cause": "x"}, 422, "invalid_request"),
        ({"ids": ["x"], "model": "o/m"}, 422, "invalid_request"),
        ({"ids": ["x"] * 501}, 422, "invalid_request"),
        ({"why": "x"}, 422, "invalid_request"),
        ({"cause": "a\0"}, 422, "invalid_request"),
        ({"failed_after": "yesterday"}, 422, "invalid_request"),
        ({"cause": "no_such_cause"}, 404, "no_dead_letter_matches"),
        ({"ids": ["none"]}, 404, "no_dead_letter_matches"),
        ({"failed_before": "2020-01-01T00:00:00Z"}, 404, "no_dead_letter_matches"),
    ],
)
async def test_a_selection_that_makes_no_sense_or_meets_nothing_names_the_fix(
    api: Api, verb: str, body: dict[str, Any], status: int, code: str
) -> None:
    reply = await api.client.post(f"/v1/dead-letters/{verb}", json=body)
    assert (reply.status_code, reply.json()["code"]) == (status, code), reply.text
    if status == 404:
        assert "/v1/dead-letters/groups" in reply.json()["detail"]


@pytest.mark.parametrize("verb", ["discard", "replay"])
async def test_what_is_no_waiting_letter_cannot_be_dealt_with(
    api: Api, jpeg: bytes, verb: str
) -> None:
    bad = await failed(api, jpeg, "bad_input")
    running = await api.submit(jpeg)
    for id in (bad["id"], running["id"], "none", "a%00b"):
        reply = await api.client.post(f"/v1/dead-letters/{id}/{verb}")
        assert (reply.status_code, reply.json()["code"]) == (404, "unknown_dead_letter")


async def test_a_replay_is_a_new_prediction_that_names_the_old_one(api: Api, jpeg: bytes) -> None:
    old = await failed(api, jpeg, "engine_crashed")
    reply = await api.client.post(f"/v1/dead-letters/{old['id']}/replay")
    assert reply.status_code == 200, reply.text
    [replayed] = reply.json()["results"]
    assert replayed["id"] == old["id"]
    assert replayed["url"] == f"http://darkroom.test/v1/predictions/{replayed['prediction']}"
    new = await api.get({"id": replayed["prediction"]})
    assert (new["status"], new["retry_of"], new["input"]) == ("starting", old["id"], old["input"])
    assert replayed["prediction"] in [job for job, _ in await api.take("darkroom/captioner")]
    assert await letters(api) == []
    assert (await api.get(old))["status"] == "failed"
    again = await api.client.post(f"/v1/dead-letters/{old['id']}/replay")
    assert (again.status_code, again.json()["code"]) == (404, "unknown_dead_letter")


async def test_twenty_replays_of_one_letter_at_once_make_one_prediction(
    api: Api, jpeg: bytes
) -> None:
    old = await failed(api, jpeg, "engine_crashed")
    paths = [f"/v1/dead-letters/{old['id']}/replay", "/v1/dead-letters/replay"] * 10
    replies = await asyncio.gather(
        *(api.client.post(path, json={"ids": [old["id"]]}) for path in paths)
    )
    made = {one["prediction"] for r in replies for one in r.json().get("results", [])}
    assert len(made) == 1
    assert {reply.status_code for reply in replies} <= {200, 404}
    every = (await api.client.get("/v1/predictions")).json()["results"]
    assert {one["id"] for one in every} == {old["id"], *made}


async def test_letters_are_replayed_by_filter_and_all(
    api: Api, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.replaying.MOST_AT_ONCE", 2)
    one, *others = [(await failed(api, jpeg, code))["id"] for code in ("a", "b", "b", "b")]
    reply = (await api.client.post("/v1/dead-letters/replay", json={"cause": "a"})).json()
    assert (reply["done"], reply["remaining"], reply["results"][0]["id"]) == (1, 0, one)
    counts, ids = [], set()
    for _ in range(3):
        reply = (await api.client.post("/v1/dead-letters/replay", json={"all": True})).json()
        counts.append((reply["done"], reply["remaining"]))
        ids |= {replayed["id"] for replayed in reply["results"]}
    assert counts == [(2, 1), (1, 0), (0, 0)]
    assert ids == set(others)


async def test_a_letter_without_its_image_is_refused_and_holds_up_no_other(
    api: Api, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.replaying.MOST_AT_ONCE", 1)
    sound = await failed(api, jpeg, "engine_crashed")
    gone = await failed(api, other_jpeg(), "input_missing")
    [key] = [
        info.key
        async for info in api.store.list("inputs/")
        if info.key.endswith(gone["input"]["image"].removeprefix("sha256:"))
    ]
    await api.store.delete(key)
    reply = (await api.client.post("/v1/dead-letters/replay", json={"all": True})).json()
    assert [one["id"] for one in reply["results"]] == [sound["id"]]
    assert [(one["id"], one["code"]) for one in reply["refused"]] == [(gone["id"], "removed")]
    assert reply["remaining"] == 1
    reply = await api.client.post(f"/v1/dead-letters/{gone['id']}/replay")
    assert (reply.status_code, reply.json()["code"]) == (410, "removed")
    assert await letters(api) == [gone["id"]]


def other_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("query", ["cursor=nonsense", "failed_after=soon", "cause=%00"])
async def test_a_filter_or_cursor_that_is_none_is_a_problem(api: Api, query: str) -> None:
    reply = await api.client.get(f"/v1/dead-letters?{query}")
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")


async def test_no_idempotency_key_of_a_client_stands_in_the_way_of_a_replay(
    api: Api, jpeg: bytes
) -> None:
    letter = (await failed(api, jpeg, "engine_crashed"))["id"]
    for key in (f"dead-letter {letter}", f"dead-letter\t{letter}"):
        await api.client.post(
            "/v1/predictions",
            json={"model": "darkroom/echo", "input": {"prompt": "mine"}},
            headers={"Idempotency-Key": key},
        )
    reply = await api.client.post("/v1/dead-letters/replay", json={"all": True})
    assert (reply.status_code, reply.json()["done"]) == (200, 1)
