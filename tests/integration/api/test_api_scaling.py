"""Scaling by API: what was decided, and changes that reach the scaler."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from common import wire
from common.events import WorkerHeartbeat, WorkerState
from common.job_log import Start
from common.scaling import ModelScaling, ScalerStarted, ScalingDecided, ScalingMode, ScalingSettings
from common.topic import CONTROL, EVENTS, WORKERS
from tests.integration.api.running import Api
from tests.ledger import until

pytestmark = pytest.mark.anyio

MODEL = "/v1/scaling/models/darkroom/captioner"


async def decide(api: Api, id: str, **fields: Any) -> None:
    usual: dict[str, Any] = {"before": 0, "after": 1, "reason": "12 jobs to do", "applied": True}
    decided = ScalingDecided(
        id=id, scaler="s", model="darkroom/captioner", at=time.time(), **{**usual, **fields}
    )
    await api.log.append(EVENTS, decided.model, wire.encode(decided), wire.HEADERS)


async def decisions(api: Api, query: str = "") -> list[Any]:
    results: list[Any] = (await api.client.get(f"/v1/scaling/decisions{query}")).json()["results"]
    return results


async def told(api: Api) -> list[ScalingSettings]:
    """All that `control` carries."""
    subscription = await api.log.subscribe({CONTROL: 1}, group=None, start=Start.EARLIEST)
    found = await subscription.receive(100, 5.0)
    await subscription.close()
    said = [wire.decode_control(each.value, each.headers) for each in found]
    return [one for one in said if isinstance(one, ScalingSettings)]


async def test_a_decision_is_kept_with_its_reason_and_shown_at_its_model(api: Api) -> None:
    await decide(api, "a")
    await decide(api, "b", before=1, after=0, reason="idle; min=0", applied=False)

    async def both() -> bool:
        return len(await decisions(api)) == 2

    await until(both)
    latest, first = await decisions(api, "?model=darkroom/captioner")
    assert (latest["reason"], latest["applied"]) == ("idle; min=0", False)
    assert (first["before"], first["after"], first["applied"]) == (0, 1, True)
    assert await decisions(api, "?model=darkroom/echo") == []
    shown = {m["model"]: m for m in (await api.client.get("/v1/scaling")).json()["models"]}
    assert shown["darkroom/captioner"]["last"] == latest
    assert shown["darkroom/echo"]["last"] is None


async def test_a_decision_with_texts_that_no_ledger_holds_is_cleaned(api: Api) -> None:
    await decide(api, "a", reason="x\0" * 2000)

    async def there() -> bool:
        return len(await decisions(api)) == 1

    await until(there)
    assert len((await decisions(api))[0]["reason"]) == 1000


async def test_a_change_of_a_model_is_told_and_shown_and_taken_back(api: Api) -> None:
    reply = await api.client.patch(MODEL, json={"max": 3, "target": 10})
    assert reply.status_code == 200, reply.text
    assert (reply.json()["max"], reply.json()["target"]) == (3, 10)
    reply = await api.client.patch(MODEL, json={"paused": True, "target": None})
    assert (reply.json()["max"], reply.json()["target"], reply.json()["paused"]) == (3, 30, True)
    reply = await api.client.patch(MODEL, json={"paused": False, "max": None})
    assert reply.json()["changed"] == {}

    models = [settings.models for settings in await told(api)]
    assert models == [
        {"darkroom/captioner": ModelScaling(max=3, target=10)},
        {"darkroom/captioner": ModelScaling(max=3, paused=True)},
        {},
    ]


async def test_all_scaling_is_paused_and_a_scaler_that_starts_later_hears_of_it(api: Api) -> None:
    reply = await api.client.patch("/v1/scaling", json={"mode": "paused"})
    assert reply.json()["mode"] == "paused"
    assert [settings.mode for settings in await told(api)] == [ScalingMode.PAUSED]

    asks = ScalerStarted(scaler="s", at=time.time())
    await api.log.append(EVENTS, "s", wire.encode(asks), wire.HEADERS)

    async def answered() -> bool:
        return len(await told(api)) == 2

    await until(answered)
    first, again = await told(api)
    assert first == again


async def test_a_model_shows_how_many_are_ready_and_how_many_load(api: Api) -> None:
    for worker, state in (("a", WorkerState.READY), ("b", WorkerState.LOADING)):
        beat = WorkerHeartbeat(
            worker=worker, model="darkroom/echo", state=state, at=time.time(), host="h", pid=1
        )
        await api.log.append(WORKERS, worker, wire.encode(beat), wire.HEADERS)
    async with asyncio.timeout(60):
        while True:
            [echo, *_] = (await api.client.get("/v1/scaling")).json()["models"]
            if (echo["ready"], echo["loading"]) == (1, 1):
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("/v1/scaling", {"mode": "off"}, "off"),
        ("/v1/scaling", {}, "mode"),
        (MODEL, {"max": 0}, "max"),
        (MODEL, {"min": 3, "max": 2}, "min=3"),
        (MODEL, {"target": 0}, "target"),
        (MODEL, {"maximum": 2}, "maximum"),
    ],
)
async def test_a_change_that_makes_no_sense_is_refused_and_changes_nothing(
    api: Api, path: str, body: Any, word: str
) -> None:
    before = (await api.client.get("/v1/scaling")).json()
    reply = await api.client.patch(path, json=body)
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")
    assert word in reply.json()["detail"]
    assert (await api.client.get("/v1/scaling")).json() == before
    assert await told(api) == []


async def test_an_unknown_model_is_told_with_those_that_are_known(api: Api) -> None:
    reply = await api.client.patch("/v1/scaling/models/a/b", json={"max": 2})
    assert (reply.status_code, reply.json()["code"]) == (404, "unknown_model")
