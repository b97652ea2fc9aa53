"""What schemathesis found the document and the API to disagree on, each in one test of its own."""

from __future__ import annotations

import pytest

from tests.integration.api.running import Api

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/files", "GET, POST"),
        ("/v1/predictions/x", "DELETE, GET, PUT"),
        ("/v1/webhooks/x", "DELETE, GET"),
        ("/v1/models", "GET, QUERY"),
        ("/livez", "GET"),
    ],
)
async def test_a_method_that_does_not_work_is_answered_with_all_that_do(
    api: Api, path: str, allowed: str
) -> None:
    reply = await api.client.request("PATCH", path)
    assert (reply.status_code, reply.headers["allow"]) == (405, allowed)
    assert allowed in reply.json()["detail"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/predictions", "created_after"),
        ("/v1/dead-letters", "failed_before"),
        ("/v1/webhooks/deliveries", "created_before"),
    ],
)
@pytest.mark.parametrize("word", ["0.5", "1795280000", "-1e3", "NaN", "Infinity"])
async def test_a_number_is_no_time_of_a_filter(api: Api, path: str, name: str, word: str) -> None:
    reply = await api.client.get(path, params={name: word})
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")
    assert "2026-11-21T18:00:00Z" in reply.json()["detail"]
    good = await api.client.get(path, params={name: "2026-11-21T18:00:00Z"})
    assert good.status_code == 200


async def test_a_secret_is_rotated_without_a_body_and_the_document_says_so(api: Api) -> None:
    path = "/v1/webhooks/default/secret/rotate"
    assert (await api.client.post(path)).status_code == 200
    document = (await api.client.get("/openapi.json")).json()
    assert document["paths"][path]["post"]["requestBody"]["required"] is False


async def test_a_retry_that_has_ended_when_it_is_answered_is_201_and_the_document_says_so(
    api: Api,
) -> None:
    body = {"model": "darkroom/echo", "input": {"prompt": "a"}}
    old = (await api.client.post("/v1/predictions", json=body)).json()
    await api.succeed(old["id"], text="a")
    await api.ended(old)
    path, key = f"/v1/predictions/{old['id']}/retry", {"Idempotency-Key": "again"}
    retried = await api.client.post(path, headers=key)
    assert retried.status_code == 202
    await api.succeed(retried.json()["id"], text="a")
    await api.ended(retried.json())
    replayed = await api.client.post(path, headers=key)
    assert (replayed.status_code, replayed.json()["id"]) == (201, retried.json()["id"])
    document = (await api.client.get("/openapi.json")).json()
    for described in ("/v1/predictions", "/v1/predictions/{prediction_id}/retry"):
        assert {"201", "202"} <= set(document["paths"][described]["post"]["responses"])


async def test_the_document_links_what_is_made_to_what_can_be_done_with_it(api: Api) -> None:
    document = (await api.client.get("/openapi.json")).json()
    named = {
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
    }
    links = document["paths"]["/v1/predictions"]["post"]["responses"]["202"]["links"]
    assert {"Get Prediction", "Cancel Prediction", "Retry Prediction"} <= set(links)
    assert {link["operationId"] for link in links.values()} <= named
