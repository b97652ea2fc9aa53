"""Every route of the OpenAPI document against every key that should not open it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx2
import pytest
from uuid_utils import uuid7

from api.access.keys import Scope
from tests.abuse.house import House, inhabited, new_key
from tests.abuse.rules import (
    JOB,
    MODEL,
    RULES,
    UNDOCUMENTED_AND_OPEN,
    UNDOCUMENTED_WITH_A_KEY,
)
from tests.e2e.stack import Json

pytestmark = pytest.mark.anyio

UNKNOWN = "01a1fefe-0000-7000-8000-000000000000"  # an id that nothing has
JOB_ID = "prediction_id"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with inhabited(tmp_path_factory.mktemp("house")) as house:
        yield house


def told(reply: httpx2.Response, ids: Mapping[str, str]) -> tuple[int, bytes, list[str]]:
    """Status, body and headers, without what names the request or the thing that it asked for."""
    body = reply.content
    for id in ids.values():
        body = body.replace(id.encode(), b"ID")
    body = body.replace(reply.headers["x-request-id"].encode(), b"REQUEST")
    lines = [f"{k}: {v}" for k, v in reply.headers.items() if k not in ("x-request-id", "date")]
    return reply.status_code, body, sorted(lines)


async def test_the_table_knows_every_route(house: House) -> None:
    document = (await house.api.client.get("/openapi.json")).json()
    documented = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item
    }
    assert documented == set(RULES)
    for operation, rule in RULES.items():
        method, path = operation.split(" ")
        described = document["paths"][path][method.lower()]
        assert ("security" in described) == (rule.scope is not None), operation
        for code in ("missing_key", "scope_missing") if rule.scope else ():
            assert code in json.dumps(described["responses"]), operation
    owned = {name for operation in RULES for name in re.findall(r"\{(\w+_id)\}", operation)}
    assert owned - {"version_id"} == set(house.owned)
    for operation, rule in RULES.items():
        names_something = bool(set(re.findall(r"\{(\w+)\}", operation)) & set(house.owned))
        assert (rule.foreign is not None) == (names_something and rule.scope is not None)


def every_route(router: Any) -> Iterator[Any]:
    """Those of the routers within it too."""
    for route in router.routes:
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route
        else:
            yield from every_route(inner)


async def test_what_stands_beside_the_document_is_known_too(house: House) -> None:
    app = house.api.client._transport.app  # type: ignore[attr-defined]
    beside = set()
    for route in every_route(app):
        if not getattr(route, "include_in_schema", False):
            methods = (getattr(route, "methods", None) or {"GET"}) - {"HEAD"}
            path = route.path
            beside |= {path if method == "GET" else f"{method} {path}" for method in methods}
    assert beside == (UNDOCUMENTED_AND_OPEN | UNDOCUMENTED_WITH_A_KEY)
    assert (await house.api.client.request("QUERY", "/v1/models")).status_code == 401
    for path in ("/docs", "/openapi.json", "/docs/assets/swagger-ui.css"):
        assert (await house.api.client.get(path)).status_code == 200


async def test_what_is_no_key_opens_nothing_and_is_told_why(house: House) -> None:
    before = await house.everything()
    for operation, rule in RULES.items():
        if rule.scope is None:
            continue
        for kind, (headers, code) in house.refused.items():
            reply = await house.ask(operation, headers, house.owned)
            assert (reply.status_code, reply.json()["code"]) == (401, code), (operation, kind)
            challenge = reply.headers["www-authenticate"]
            assert challenge.startswith('Bearer realm="darkroom"'), (operation, kind)
            assert ('error="invalid_token"' in challenge) == (code != "missing_key")
            unknown = dict.fromkeys(house.owned, UNKNOWN)
            again = await house.ask(operation, headers, unknown)
            assert told(reply, house.owned) == told(again, unknown), (operation, kind)
    assert await house.everything() == before


async def test_a_key_of_another_scope_opens_nothing(house: House) -> None:
    before = await house.everything()
    for operation, rule in RULES.items():
        for scope in {Scope.USER, Scope.WORKER, Scope.MONITOR} - {rule.scope}:
            if rule.scope is None:
                continue
            reply = await house.ask(operation, await new_key(house.api, scope), house.owned)
            said = (reply.status_code, reply.json()["code"])
            assert said == (403, "scope_missing"), (operation, scope)
            challenge = reply.headers["www-authenticate"]
            assert f'error="insufficient_scope", scope="{rule.scope}"' in challenge
    assert await house.everything() == before


async def test_anothers_id_is_answered_like_one_that_does_not_exist(house: House) -> None:
    before = await house.everything()
    for operation, rule in RULES.items():
        if rule.foreign is None:
            continue
        foreign = await house.ask(operation, house.other, house.owned)
        said = (foreign.status_code, foreign.json()["code"])
        assert said == (404, rule.foreign), operation
        if operation.startswith("PUT "):  # an unknown id is what it is for
            continue
        unknown = dict.fromkeys(house.owned, UNKNOWN)
        reply = await house.ask(operation, house.other, unknown)
        assert told(foreign, house.owned) == told(reply, unknown), operation
    assert await house.everything() == before


async def test_anothers_id_in_a_body_or_a_filter_is_like_one_that_does_not_exist(
    house: House,
) -> None:
    before = await house.everything()
    mine = house.owned
    client = house.api.client
    for method, path, sent in (
        ("POST", "/v1/predictions", lambda ids: {"json": _of_file(ids["file_id"])}),
        (
            "POST",
            "/v1/predictions",
            lambda ids: {"json": _of_file(f"http://darkroom.test/v1/files/{ids['file_id']}")},
        ),
        *(
            ("POST", f"/v1/dead-letters/{do}", lambda ids: {"json": {"ids": [ids[JOB_ID]]}})
            for do in ("discard", "replay")
        ),
        *(
            ("POST", "/v1/webhooks/deliveries/resend", _filtering(name, key))
            for name, key in (("webhook", "webhook_id"), ("prediction", JOB_ID))
        ),
        *(
            ("GET", "/v1/webhooks/deliveries", _querying(name, key))
            for name, key in (("webhook", "webhook_id"), ("prediction", JOB_ID))
        ),
    ):
        unknown = dict.fromkeys(mine, UNKNOWN)
        replies = [
            await client.request(method, path, headers=house.other, **sent(ids))
            for ids in (mine, unknown)
        ]
        assert told(replies[0], mine) == told(replies[1], unknown), (method, path)
        assert replies[0].status_code in (404, 200), replies[0].text
        if replies[0].status_code == 200:
            assert replies[0].json()["results"] == []
    assert await house.everything() == before


def _of_file(reference: str) -> Json:
    return {"model": MODEL, "input": {"image": reference}}


def _filtering(name: str, key: str) -> Any:
    return lambda ids: {"json": {name: ids[key]}}


def _querying(name: str, key: str) -> Any:
    return lambda ids: {"params": {name: ids[key]}}


async def test_lists_streams_and_selections_hold_nothing_of_others(house: House) -> None:
    before = await house.everything()
    client = house.api.client
    for path in ("predictions", "files", "webhooks", "webhooks/deliveries", "dead-letters"):
        reply = await client.get(f"/v1/{path}", headers=house.other)
        assert reply.json()["results"] == [], path
    assert (await client.get("/v1/dead-letters/groups", headers=house.other)).json() == {
        "results": []
    }
    for do in ("discard", "replay"):
        reply = await client.post(f"/v1/dead-letters/{do}", headers=house.other, json={"all": True})
        assert (reply.json()["done"], reply.json()["remaining"]) == (0, 0)
    reply = await client.post("/v1/webhooks/deliveries/resend", headers=house.other, json={})
    assert (reply.status_code, reply.json()["code"]) == (404, "no_delivery_matches")
    secret = "/v1/webhooks/default/secret"
    assert (await client.get(secret, headers=house.other)).json() != before[secret]
    await client.post(f"{secret}/rotate", headers=house.other, json={"overlap_seconds": 0})
    assert await house.everything() == before


async def test_an_id_of_anothers_is_no_id_for_a_new_prediction(house: House) -> None:
    chosen = str(uuid7())
    path = "/v1/predictions/" + chosen
    assert (await house.api.client.put(path, headers=house.other, json=JOB)).status_code == 202
    reply = await house.api.client.put(path, headers=house.owner, json=JOB)
    assert (reply.status_code, reply.json()["code"]) == (404, "unknown_prediction")


async def test_an_access_link_opens_by_its_whole_token_alone(house: House) -> None:
    job = (await house.everything())[f"/v1/predictions/{house.owned[JOB_ID]}"]
    link = job["access_link"].partition("/v1/results/")[2]
    right = await house.api.client.get(f"/v1/results/{link}")
    assert right.status_code == 422  # it failed, and says so
    id, token = link.split("/")
    for wrong in (token[:-1], token.upper() + "0", "0" * len(token), "%00", "é"):
        for tail in ("", "/0"):
            guess = await house.api.client.get(f"/v1/results/{id}/{wrong}{tail}")
            none = await house.api.client.get(f"/v1/results/{UNKNOWN}/{wrong}{tail}")
            assert (guess.status_code, guess.json()["code"]) == (404, "unknown_result")
            assert told(guess, {"": id}) == told(none, {"": UNKNOWN})
