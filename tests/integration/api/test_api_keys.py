"""Who may ask for what, with auth on."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from api.access.keys import KEY_SECONDS, Scope, make_key
from api.database import keys
from api.database.tables import api_keys
from common.settings import Settings
from tests.integration.api.running import DEADLINE, Api, running_api

pytestmark = pytest.mark.anyio

OPEN = {"/livez", "/readyz", "/v1/results/{prediction_id}/{token}"} | {
    "/v1/results/{prediction_id}/{token}/{number}"
}


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with running_api(settings.model_copy(update={"auth": "on"})) as api:
        yield api


async def bearer(api: Api, *scopes: Scope, **fields: Any) -> dict[str, str]:
    """The header of a new key."""
    key, secret = make_key(scopes=frozenset(scopes or {Scope.USER}), now=time.time())
    async with api.database.write() as connection:
        await keys.add(connection, dataclasses.replace(key, **fields))
    return {"Authorization": f"Bearer {secret}"}


async def submitted(api: Api, jpeg: bytes, headers: dict[str, str]) -> Any:
    reply = await api.client.post(
        "/v1/predictions",
        data={"model": "darkroom/captioner"},
        files={"image": ("a.jpg", jpeg)},
        headers=headers,
    )
    assert reply.status_code == 202, reply.text
    return reply.json()


def refusal(reply: httpx2.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["code"]


async def test_every_route_asks_for_a_key_but_those_that_are_meant_to_be_open(api: Api) -> None:
    document = (await api.client.get("/openapi.json")).json()
    asked = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            reply = await api.client.request(method, re.sub(r"\{\w+\}", "x", path))
            if reply.status_code == 401:
                asked.add(path)
                assert reply.json()["code"] == "missing_key"
                assert reply.headers["www-authenticate"] == 'Bearer realm="darkroom"'
                assert operation["security"] == [{"key": []}]
                assert "401" in operation["responses"]
            else:
                assert "security" not in operation
    assert set(document["paths"]) - asked == OPEN
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


async def test_documentation_needs_no_key(api: Api) -> None:
    assert (await api.client.get("/docs")).status_code == 200


async def test_a_key_runs_models_and_replicates_older_word_for_it_works(
    api: Api, jpeg: bytes
) -> None:
    headers = await bearer(api)
    job = await submitted(api, jpeg, headers)
    token = {"Authorization": headers["Authorization"].replace("Bearer", "token")}
    reply = await api.client.get(f"/v1/predictions/{job['id']}", headers=token)
    assert reply.json()["id"] == job["id"]


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer sk-1", "Basic YTpi", "dk_1", "Bearer dk_" + "0" * 12 + "_" + "0" * 64],
)
async def test_what_is_no_key_is_refused_with_the_fix(api: Api, header: str) -> None:
    reply = await api.client.get("/v1/predictions", headers={"Authorization": header})
    assert refusal(reply) == (401, "invalid_key")
    assert 'error="invalid_token"' in reply.headers["www-authenticate"]
    assert "dk_" in reply.json()["detail"] or "keys create" in reply.json()["detail"]


async def test_keys_that_ended_say_how_and_what_to_do(api: Api) -> None:
    for field, code, fix in (
        ("revoked_at", "revoked_key", "keys create"),
        ("expires_at", "expired_key", "keys rotate"),
    ):
        headers = await bearer(api, **{field: time.time() - 1})
        reply = await api.client.get("/v1/predictions", headers=headers)
        assert refusal(reply) == (401, code)
        assert fix in reply.json()["detail"]


async def test_why_a_key_ended_is_told_only_to_who_has_all_of_it(api: Api) -> None:
    headers = await bearer(api, revoked_at=1.0)
    guess = headers["Authorization"][:-64] + "0" * 64
    reply = await api.client.get("/v1/predictions", headers={"Authorization": guess})
    assert refusal(reply) == (401, "invalid_key")


async def test_a_revoked_key_stops_working_within_seconds(api: Api) -> None:
    headers = await bearer(api)
    assert (await api.client.get("/v1/predictions", headers=headers)).status_code == 200
    key_id = headers["Authorization"].split("_")[1]
    async with api.database.write() as connection:
        await keys.revoke(connection, key_id, at=time.time())

    began = time.monotonic()
    async with asyncio.timeout(DEADLINE):
        while (  # noqa: ASYNC110  time is what this waits for
            await api.client.get("/v1/predictions", headers=headers)
        ).status_code == 200:
            await asyncio.sleep(0.02)
    assert time.monotonic() - began < KEY_SECONDS + 20


async def test_a_scope_too_small_is_named(api: Api) -> None:
    monitor, user = await bearer(api, Scope.MONITOR), await bearer(api)
    for path, headers, scope in (
        ("/v1/predictions", monitor, "user"),
        ("/metrics", user, "monitor"),
    ):
        reply = await api.client.get(path, headers=headers)
        assert refusal(reply) == (403, "scope_missing")
        assert f"--scope {scope}" in reply.json()["detail"]
        assert f'error="insufficient_scope", scope="{scope}"' in reply.headers["www-authenticate"]
    assert (await api.client.get("/metrics", headers=monitor)).status_code == 200


async def test_another_keys_jobs_and_files_are_not_there(api: Api, jpeg: bytes) -> None:
    mine, others = await bearer(api), await bearer(api)
    job = await submitted(api, jpeg, mine)
    file = (
        await api.client.post("/v1/files", files={"content": ("a.jpg", jpeg)}, headers=mine)
    ).json()

    for method, path, code in (
        ("GET", f"/v1/predictions/{job['id']}", "unknown_prediction"),
        ("POST", f"/v1/predictions/{job['id']}/cancel", "unknown_prediction"),
        ("GET", f"/v1/files/{file['id']}", "unknown_file"),
        ("DELETE", f"/v1/files/{file['id']}", "unknown_file"),
    ):
        assert refusal(await api.client.request(method, path, headers=others)) == (404, code)
    for path in ("/v1/predictions", "/v1/files"):
        assert (await api.client.get(path, headers=others)).json()["results"] == []
        assert len((await api.client.get(path, headers=mine)).json()["results"]) == 1
    assert job["status"] == "starting"
    assert (await api.client.get(job["access_link"])).status_code == 202


async def test_keys_of_one_owner_share_their_jobs(api: Api, jpeg: bytes) -> None:
    one, other = await bearer(api, owner="ann"), await bearer(api, owner="ann")
    job = await submitted(api, jpeg, one)
    reply = await api.client.get(f"/v1/predictions/{job['id']}", headers=other)
    assert reply.status_code == 200


async def test_admin_sees_and_cancels_everyones_jobs(api: Api, jpeg: bytes) -> None:
    made = [await submitted(api, jpeg, await bearer(api)) for _ in range(3)]
    admin = await bearer(api, Scope.ADMIN)

    listed = (await api.client.get("/v1/predictions", headers=admin)).json()["results"]
    assert [job["id"] for job in listed] == [job["id"] for job in reversed(made)]
    reply = await api.client.post(f"/v1/predictions/{made[0]['id']}/cancel", headers=admin)
    assert reply.json()["status"] == "canceled"


async def test_a_body_is_not_read_before_the_key_is_known(api: Api) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"{"

    reply = await api.client.post(
        "/v1/predictions", content=body(), headers={"Content-Type": "application/json"}
    )
    assert refusal(reply) == (401, "missing_key")
    assert read == 0


@pytest.mark.parametrize("field", ["revoked_at", "expires_at"])
@pytest.mark.parametrize("path", ["/v1/events", "/events", "/stream"])
async def test_a_stream_ends_with_its_key(
    api: Api, jpeg: bytes, monkeypatch: pytest.MonkeyPatch, path: str, field: str
) -> None:
    monkeypatch.setattr("api.live.streams.KEEP_ALIVE_SECONDS", 0.05)
    headers = await bearer(api)
    job = await submitted(api, jpeg, headers)
    ended = update(api_keys).where(api_keys.c.id == headers["Authorization"].split("_")[1])
    if not path.startswith("/v1"):
        path = f"/v1/predictions/{job['id']}{path}"

    streaming = asyncio.create_task(api.client.get(path, headers=headers))
    await asyncio.sleep(0.2)
    assert not streaming.done()
    async with api.database.write() as connection:
        await connection.execute(ended.values({field: time.time()}))
    reply = await asyncio.wait_for(streaming, KEY_SECONDS + 2)
    assert reply.status_code == 200
    assert (await api.client.get(path, headers=headers)).status_code == 401


async def test_an_admins_idempotency_keys_are_none_of_the_owners(api: Api, jpeg: bytes) -> None:
    owner, admin = await bearer(api), await bearer(api, Scope.ADMIN)
    job = await submitted(api, jpeg, {**owner, "Idempotency-Key": "k"})
    await api.client.post(f"/v1/predictions/{job['id']}/cancel", headers=owner)
    path = f"/v1/predictions/{job['id']}/retry"
    replies = [
        await api.client.post(path, headers={**admin, "Idempotency-Key": "k"}) for _ in range(2)
    ]
    assert [reply.status_code for reply in replies] == [202, 202]
    assert replies[0].json()["id"] == replies[1].json()["id"] != job["id"]
