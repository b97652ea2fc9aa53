"""A cancel from HTTP to the engine and back: API, recorder and consumer, on both stacks."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from api.recorder import Recorder
from common.settings import Settings
from tests.integration.api.running import Api, running_api
from tests.integration.test_consumer import ECHO, Bench
from tests.ledger import fresh_postgres, until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["embedded", "servers"])
async def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    names, data = tmp_path / "model_names.txt", tmp_path / "data"
    names.write_text("darkroom/echo task=echo\n")
    urls = {
        "job_log_url": f"sqlite:///{data}/log.sqlite",
        "object_store_url": f"file://{data}/objects",
        "database_url": f"sqlite+aiosqlite:///{data}/ledger.sqlite",
    }
    if request.param == "servers":
        servers: dict[str, str] = request.getfixturevalue("servers")
        name, store = "t" + secrets.token_hex(6), servers["DARKROOM_OBJECT_STORE_URL"]
        urls = {
            "job_log_url": f"{servers['DARKROOM_JOB_LOG_URL']}?prefix={name}.",
            "object_store_url": store.replace("s3://darkroom", f"s3://{name}"),
            "database_url": await fresh_postgres(servers["DARKROOM_DATABASE_URL"]),
        }
    return Settings.model_validate({"data_dir": data, "model_names": str(names), **urls})


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    """With a recorder and a consumer beside it, which has its partitions."""
    async with running_api(settings) as api:
        recording = asyncio.create_task(Recorder(log=api.log, database=api.database).run())
        bench = Bench(ECHO, api.log, api.store)
        bench.start()
        await api.ended(await submit(api))
        yield api
        await bench.end()
        recording.cancel()
        await asyncio.wait({recording})


async def submit(api: Api, **parameters: Any) -> Any:
    body = {"model": "darkroom/echo", "input": parameters}
    reply = await api.client.post("/v1/predictions", json=body)
    assert reply.status_code == 202, reply.text
    return reply.json()


async def cancel(api: Api, prediction: Any) -> Any:
    since = time.monotonic()
    reply = await api.client.post(f"/v1/predictions/{prediction['id']}/cancel")
    assert time.monotonic() - since < 20  # it does not wait for the work to stop
    assert reply.status_code == 200
    return reply.json()


async def test_a_queued_job_is_canceled_at_once_and_never_begins(api: Api) -> None:
    running, queued = await submit(api, delay=1.0), await submit(api, delay=60.0)
    await api.shows(running, "processing")
    canceled = await cancel(api, queued)
    assert (canceled["status"], canceled["error_code"]) == ("canceled", "canceled")
    after = await api.ended(await submit(api, prompt="after"))
    assert after["status"] == "succeeded"
    assert (await api.get(running))["status"] == "succeeded"
    assert await api.get(queued) == canceled
    assert canceled["started_at"] is None


async def test_a_running_job_shows_how_far_it_came_and_the_next_begins_at_once(api: Api) -> None:
    running, following = await submit(api, delay=20.0), await submit(api, prompt="next")

    async def under_way() -> bool:
        return "%|" in (await api.get(running))["logs"]

    await until(under_way)
    canceled = await cancel(api, running)
    assert canceled["status"] == "canceled"
    assert "%|" in canceled["logs"]
    ended = await api.ended(following)
    assert ended["status"] == "succeeded"
    waited = moment(ended["started_at"]) - moment(canceled["completed_at"])
    assert waited < 1.0
    assert await api.get(running) == canceled


def moment(words: str) -> float:
    return datetime.fromisoformat(words).timestamp()
