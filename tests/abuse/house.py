"""An API in which somebody has something of every kind, for others to come after."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from api.access.keys import Scope, make_key
from api.database import keys
from api.recorder import Recorder
from common.settings import Settings
from tests.abuse.rules import JOB, MODEL, RULES
from tests.e2e.stack import PROJECT, Json
from tests.integration.api.running import Api, running_api

PICTURE = (PROJECT / "images" / "two-above.png").read_bytes()


@dataclass(frozen=True)
class House:
    """An API in which somebody has something of every kind."""

    api: Api
    owner: dict[str, str]  # the header of who has it
    other: dict[str, str]  # the header of a user who has nothing
    refused: dict[str, tuple[dict[str, str], str]]  # headers that are no key, and the code of each
    owned: Mapping[str, str]  # the ids by the path's names for them

    async def ask(
        self, operation: str, headers: Mapping[str, str], ids: Mapping[str, str]
    ) -> httpx2.Response:
        """The operation with these ids in its path, and a body that would do something."""
        method, path = operation.split(" ")
        named = {"owner": "darkroom", "name": "echo", "version_id": "main", **ids}
        url = re.sub(r"\{(\w+)\}", lambda found: named.get(found[1], "x"), path)
        sent = RULES[operation].sent
        return await self.api.client.request(method, url, headers=headers, **sent)

    async def everything(self) -> Json:
        """What its owner has, as the owner sees it."""
        seen = {}
        for path in (
            *("/v1/predictions", "/v1/files", "/v1/webhooks", "/v1/webhooks/default/secret"),
            *("/v1/dead-letters", "/v1/webhooks/deliveries"),
            *(f"/v1/predictions/{self.owned['prediction_id']}",),
        ):
            reply = await self.api.client.get(path, headers=self.owner)
            assert reply.status_code == 200, reply.text
            seen[path] = reply.json()
        for listed in ("/v1/predictions", "/v1/files", "/v1/webhooks", "/v1/dead-letters"):
            assert seen[listed]["results"], f"nothing to steal: {listed}"
        return seen


@asynccontextmanager
async def inhabited(folder: Path) -> AsyncIterator[House]:
    """Running on the embedded stack, in this process."""
    async with running_api(_settings(folder)) as api:
        recording = asyncio.create_task(Recorder(log=api.log, database=api.database).run())
        owner = await new_key(api, Scope.USER)
        yield House(
            api=api,
            owner=owner,
            other=await new_key(api, Scope.USER),
            refused=await _no_keys(api),
            owned=await _belongings(api, owner),
        )
        recording.cancel()
        await asyncio.wait({recording})


def _settings(folder: Path) -> Settings:
    names = folder / "model_names.txt"
    names.write_text(f"{MODEL} task=echo\n")
    data = folder / "data"
    return Settings(
        data_dir=data,
        job_log_url=f"sqlite:///{data}/log.sqlite",
        object_store_url=f"file://{data}/objects",
        database_url=f"sqlite+aiosqlite:///{data}/ledger.sqlite",
        model_names=str(names),
        title_model=MODEL,
        auth="on",
        key_requests_per_second=0,
    )


async def new_key(api: Api, *scopes: Scope, **fields: Any) -> dict[str, str]:
    """The header of a new key."""
    key, secret = make_key(scopes=frozenset(scopes), now=time.time())
    async with api.database.write() as connection:
        await keys.add(connection, dataclasses.replace(key, **fields))
    return {"Authorization": f"Bearer {secret}"}


async def _no_keys(api: Api) -> dict[str, tuple[dict[str, str], str]]:
    """Everything that is no key, or none any more."""
    past = time.time() - 1
    whole = (await new_key(api, Scope.USER))["Authorization"]
    admin = (await new_key(api, Scope.ADMIN))["Authorization"]
    unknown = f"Bearer dk_{'0' * 12}_{'0' * 64}"
    return {
        "none": ({}, "missing_key"),
        "empty": ({"Authorization": " "}, "missing_key"),
        "no secret": ({"Authorization": "Bearer"}, "invalid_key"),
        "another scheme": ({"Authorization": "Basic YTpi"}, "invalid_key"),
        "malformed": ({"Authorization": "Bearer dk_1"}, "invalid_key"),
        "unknown": ({"Authorization": unknown}, "invalid_key"),
        "cut": ({"Authorization": whole[:-1]}, "invalid_key"),
        "guessed": ({"Authorization": admin[:-64] + "0" * 64}, "invalid_key"),
        "revoked": (await new_key(api, Scope.USER, revoked_at=past), "revoked_key"),
        "revoked admin": (await new_key(api, Scope.ADMIN, revoked_at=past), "revoked_key"),
        "expired": (await new_key(api, Scope.USER, expires_at=past), "expired_key"),
    }


async def _belongings(api: Api, owner: dict[str, str]) -> dict[str, str]:
    """The owner's ended prediction (a dead letter too), file, webhook and delivery."""

    async def post(path: str, **sent: Any) -> Json:
        reply = await api.client.post(path, headers=owner, **sent)
        assert reply.status_code < 300, reply.text
        made: Json = reply.json()
        return made

    webhook = await post("/v1/webhooks", json={"url": "https://hooks.example.org/mine"})
    prediction = await post("/v1/predictions", json=JOB)
    await api.fail(prediction["id"], "engine_crashed", "It crashed.")
    async with asyncio.timeout(60):
        letters: list[Json] = []
        while not letters:
            reply = await api.client.get("/v1/dead-letters", headers=owner)
            letters = reply.json()["results"]
    file = await post("/v1/files", files={"content": ("mine.png", PICTURE)})
    delivery = await post(f"/v1/webhooks/{webhook['id']}/test")
    return {
        "prediction_id": prediction["id"],
        "file_id": file["id"],
        "webhook_id": webhook["id"],
        "delivery_id": delivery["id"],
    }
