"""Health, metrics and the documentation."""

from __future__ import annotations

import shutil

import pytest

from api.problems import CODES
from tests.integration.api.running import Api

pytestmark = pytest.mark.anyio


async def test_a_live_process_with_its_dependencies_is_ready(api: Api) -> None:
    assert (await api.client.get("/livez")).json() == {"status": "alive"}
    reply = await api.client.get("/readyz")
    assert reply.status_code == 200, reply.text
    well = {"ok": True, "error": None}
    assert reply.json()["dependencies"] == {"log": well, "store": well, "database": well}


async def test_a_dead_store_makes_it_unready_and_refuses_uploads(api: Api, jpeg: bytes) -> None:
    shutil.rmtree(api.folder / "objects")
    reply = await api.client.get("/readyz")
    assert reply.status_code == 503
    assert reply.json()["code"] == "not_ready"
    states = reply.json()["dependencies"]
    assert {name: state["ok"] for name, state in states.items()} == {
        "log": True, "store": False, "database": True
    }  # fmt: skip
    assert states["store"]["error"]
    reply = await api.client.post(
        "/v1/predictions",
        data={"model": "darkroom/captioner"},
        files={"image": ("a.jpg", jpeg)},
    )
    assert (reply.status_code, reply.json()["code"]) == (503, "store_unavailable")
    assert int(reply.headers["retry-after"]) > 0
    assert (await api.client.get("/v1/predictions")).json()["results"] == []


async def test_requests_are_counted_by_route_and_status(api: Api) -> None:
    for path in ("/v1/models/a/b", "/v1/models/c/d", "/nowhere", "/livez"):
        await api.client.get(path)
    text = (await api.client.get("/metrics")).text
    for line in (
        'http_requests_total{method="GET",route="/v1/models/{owner}/{name}",status="404"} 2.0',
        'http_requests_total{method="GET",route="unmatched",status="404"} 1.0',
        'http_request_duration_seconds_count{method="GET",route="/livez"} 1.0',
    ):
        assert line in text


async def test_a_request_id_of_the_client_is_kept(api: Api) -> None:
    reply = await api.client.get("/livez", headers={"X-Request-Id": "mine-1"})
    assert reply.headers["x-request-id"] == "mine-1"
    reply = await api.client.get("/livez", headers={"X-Request-Id": "not one\tof ours"})
    assert reply.headers["x-request-id"] != "not one\tof ours"


async def test_the_front_door_leads_to_swagger_which_needs_no_network(api: Api) -> None:
    reply = await api.client.get("/")
    assert reply.status_code == 307
    assert reply.headers["location"] == "/docs"
    page = (await api.client.get("/docs")).text
    assert "http" not in page.replace("http://www.w3.org", "")
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):
        assert f"/docs/assets/{asset}" in page
        assert (await api.client.get(f"/docs/assets/{asset}")).status_code == 200


WITHOUT_BODY = (
    "/cancel",
    "/retry",
    "}/discard",
    "}/replay",
    "/pause",
    "/resume",
    "/test",
    "}/resend",
)


OF_NO_ROUTE = {
    *("not_found", "method_not_allowed"),
    *("invalid_http", "head_too_large", "request_too_slow"),  # answered before there is a route
}


async def test_every_operation_has_an_example_and_its_error_replies(api: Api) -> None:
    schema = (await api.client.get("/openapi.json")).json()
    operations = [
        (f"{method} {path}", operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) >= 20
    seen = set()
    for name, operation in operations:
        assert operation["description"], name
        replies = operation["responses"]
        success = next(iter(status for status in replies if status < "300"))
        for content in replies[success].get("content", {}).values():
            assert content["example"], name
        assert success == "204" or replies[success]["content"], name
        if method_of(name) == "post" and not name.endswith(WITHOUT_BODY):
            assert operation["requestBody"]["content"], name
        for status, reply in replies.items():
            if status < "400":
                continue
            problems = reply["content"]["application/problem+json"]["examples"]
            for code, example in problems.items():
                assert example["value"]["code"] == code, name
                assert CODES[code][0] == int(status), name
                seen.add(code)
        assert "500" in replies, name
    assert seen == set(CODES) - OF_NO_ROUTE


async def test_the_examples_work_as_they_stand(api: Api) -> None:
    """What /docs sends when somebody opens an operation there and changes nothing."""
    paths = (await api.client.get("/openapi.json")).json()["paths"]
    for path in ("/v1/predictions", "/v1/webhooks", "/v1/webhooks/default/secret/rotate"):
        operation = paths[path]["post"]
        content = operation["requestBody"]["content"]["application/json"]
        example = content.get("example") or next(iter(content["examples"].values()))["value"]
        headers = {
            parameter["name"]: parameter["example"]
            for parameter in operation.get("parameters", [])
            if parameter["in"] == "header" and "example" in parameter
        }
        assert headers == {}, path
        if "model" in example:
            example = {**example, "model": "darkroom/captioner"}  # the models of tests
        reply = await api.client.post(path, json=example)
        assert reply.is_success, (path, reply.text)
    title = paths["/api/v1/predictions"]["post"]["requestBody"]["content"]["application/json"]
    picture = {"image": title["example"]["image"]}
    made = {"model": "darkroom/captioner", "input": picture}
    assert (await api.client.post("/v1/predictions", json=made)).is_success


async def test_every_reference_of_the_documentation_leads_somewhere(api: Api) -> None:
    document = await api.client.get("/openapi.json")
    known = set(document.json()["components"]["schemas"])
    used = {part.split('"')[0] for part in document.text.split("#/components/schemas/")[1:]}
    assert used <= known


def method_of(name: str) -> str:
    return name.partition(" ")[0]
