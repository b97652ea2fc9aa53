"""Server-sent events, read over TCP as a client reads them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx2
import msgspec
import pytest

from api.database import ending
from api.dependencies import Parts
from api.live import streams
from common import topic, wire
from common.events import JobProgress, JobStarted, JobUpdate
from common.job import JobState
from common.settings import Settings
from tests.integration.api.running import DEADLINE, Api
from tests.integration.api.serving import served

pytestmark = pytest.mark.anyio

MODEL = "darkroom/captioner"


class Event(NamedTuple):
    name: str
    id: str
    data: str

    @property
    def job(self) -> Any:
        return msgspec.json.decode(self.data)


@pytest.fixture
async def parts(api: Api, settings: Settings) -> AsyncIterator[Parts]:
    """Of another API process than the one that accepts the jobs: it hears of them by the log."""
    async with served(api, settings) as parts:
        yield parts


@pytest.fixture
def url(parts: Parts) -> str:
    return parts.settings.public_url


@asynccontextmanager
async def stream(
    url: str, path: str, last: str | None = None
) -> AsyncIterator[AsyncIterator[Event]]:
    headers = {} if last is None else {"Last-Event-ID": last}
    async with (
        httpx2.AsyncClient(base_url=url, timeout=DEADLINE, trust_env=False) as client,
        client.stream("GET", path, headers=headers) as reply,
    ):
        assert reply.status_code == 200
        assert reply.headers["content-type"].partition(";")[0] == "text/event-stream"
        yield _events(reply)


async def _events(reply: httpx2.Response) -> AsyncIterator[Event]:
    fields: dict[str, list[str]] = {}
    async for line in reply.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
            continue
        if "event" in fields:
            [name], data = fields["event"], "\n".join(fields["data"])
            yield Event(name, fields.get("id", [""])[0], data)
        fields = {}


async def all_of(events: AsyncIterator[Event]) -> list[Event]:
    async with asyncio.timeout(DEADLINE):
        return [event async for event in events]


async def start(api: Api, job: str, token: str = "t1") -> None:
    await api.say(JobStarted(job=job, token=token, at=time.time(), worker="w1"))


async def step(api: Api, job: str, fraction: float) -> None:
    await api.say(JobProgress(job=job, token="t1", at=time.time(), fraction=fraction))


async def test_a_stream_tells_a_job_from_its_row_to_its_end(
    api: Api, url: str, jpeg: bytes
) -> None:
    made = await api.submit(jpeg)
    async with stream(url, f"/v1/predictions/{made['id']}/events") as events:
        first = await anext(events)
        assert (first.name, first.id, first.job["status"]) == ("progress", "0", "starting")
        if first.job["queue"]["position"] is None:  # its row does not have it yet
            first = await anext(events)
        assert first.job["queue"]["position"] == 0
        await start(api, made["id"])
        begun = await anext(events)
        assert (begun.name, begun.id, begun.job["status"]) == ("start", "1", "processing")
        await step(api, made["id"], 0.5)
        half = await anext(events)
        assert (half.name, half.id) == ("progress", "2")
        assert "50%" in half.job["logs"]
        await api.succeed(made["id"], text="a red circle")
        output, completed = await all_of(events)
    assert (output.name, output.id, output.job["output"]) == ("output", "2", "a red circle")
    assert (completed.name, completed.id) == ("completed", "3")
    async with httpx2.AsyncClient(timeout=60, trust_env=False) as client:
        shown = await client.get(f"{url}/v1/predictions/{made['id']}")
    assert completed.job == shown.json()


async def test_a_stream_of_a_job_that_has_ended_tells_all_and_ends(
    api: Api, url: str, jpeg: bytes
) -> None:
    made = await api.submit(jpeg)
    await api.succeed(made["id"], text="x")
    await api.ended(made)
    async with stream(url, f"/v1/predictions/{made['id']}/events") as events:
        assert [event.name for event in await all_of(events)] == ["start", "output", "completed"]


async def test_a_stream_that_was_cut_goes_on_where_it_was(api: Api, url: str, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    path = f"/v1/predictions/{made['id']}/events"
    async with stream(url, path) as events:
        await anext(events)
        await start(api, made["id"])
        last = await anext(events)
    await step(api, made["id"], 0.25)
    await api.succeed(made["id"], text="x")
    await api.ended(made)
    async with stream(url, path, last.id) as events:
        names = [event.name for event in await all_of(events)]
    assert names == ["output", "completed"]
    ended = (await api.parts.job("local", made["id"])).sequence
    async with stream(url, path, str(ended - 1)) as events:
        assert [event.name for event in await all_of(events)] == ["output", "completed"]
    async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        nothing = await client.get(path, headers={"Last-Event-ID": str(ended)})
    assert nothing.status_code == 204  # a browser does not come back after it


async def test_a_keep_alive_reads_the_row_of_a_job_whose_update_was_lost(
    api: Api, url: str, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_SECONDS", 0.2)
    made = await api.submit(jpeg)
    async with stream(url, f"/v1/predictions/{made['id']}/events") as events:
        await anext(events)
        async with api.database.write() as connection:
            await ending.cancel(connection, made["id"], code="canceled", error="Gone.", at=1.0)
        [completed] = await all_of(events)
    assert (completed.name, completed.job["status"]) == ("completed", "canceled")


async def test_all_of_ones_jobs_come_in_one_stream_and_nobody_elses(
    api: Api, url: str, jpeg: bytes
) -> None:
    async with stream(url, "/v1/events") as events:
        one, two = await api.submit(jpeg), await api.submit(jpeg)
        foreign = JobUpdate(job=one["id"], owner="another", state=JobState.FAILED, sequence=9)
        await api.log.append(topic.UPDATES, "x", wire.encode(foreign), wire.HEADERS)
        await api.succeed(one["id"], text="1")
        await api.fail(two["id"], "bad_input", "The PNG is damaged.")
        seen: dict[str, list[str]] = {one["id"]: [], two["id"]: []}
        async with asyncio.timeout(DEADLINE):
            while not all(names[-1:] == ["completed"] for names in seen.values()):
                event = await anext(events)
                seen[event.job["id"]].append(event.name)
    assert seen == {one["id"]: ["start", "output", "completed"], two["id"]: ["completed"]}


@pytest.mark.parametrize("remembered", [True, False])
async def test_the_stream_of_all_jobs_goes_on_after_its_last_event(
    api: Api, parts: Parts, url: str, jpeg: bytes, remembered: bool
) -> None:
    """By what the process remembers, or by the ledger after it was started again."""
    async with stream(url, "/v1/events") as events:
        first = await api.submit(jpeg)
        await api.fail(first["id"], "bad_input", "The PNG is damaged.")
        last = await anext(events)
        assert (last.name, last.job["id"]) == ("completed", first["id"])
    missed, runs = await api.submit(jpeg), await api.submit(jpeg)
    await api.fail(missed["id"], "bad_input", "The PNG is damaged.")
    await api.ended(missed)
    await start(api, runs["id"])
    await api.shows(runs, "processing")
    if not remembered:
        parts.watching._recent.clear()
    async with stream(url, "/v1/events", last.id) as events:
        found: list[tuple[str, str]] = []
        async with asyncio.timeout(DEADLINE):
            while ("start", runs["id"]) not in found:
                event = await anext(events)
                found.append((event.name, event.job["id"]))
        if remembered:
            assert found == [("completed", missed["id"]), ("start", runs["id"])]
        assert ("completed", missed["id"]) in found


async def test_replicates_stream_has_output_and_done_each_with_an_id(
    api: Api, url: str, jpeg: bytes
) -> None:
    made = await api.submit(jpeg)
    path = f"/v1/predictions/{made['id']}/stream"
    async with stream(url, path) as events:
        await api.succeed(made["id"], text="one\ntwo\u2028three")
        told = await all_of(events)
    assert [(event.name, event.data) for event in told] == [
        ("logs", "ran"), ("output", "one\ntwo\nthree"), ("done", "{}")
    ]  # fmt: skip
    assert all(event.id for event in told)
    async with stream(url, path, told[1].id) as events:
        assert [event.name for event in await all_of(events)] == ["done"]


async def test_replicates_stream_tells_why_a_job_failed(api: Api, url: str, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    async with stream(url, made["urls"]["stream"].removeprefix("http://darkroom.test")) as events:
        await api.fail(made["id"], "bad_input", "The PNG is damaged.")
        told = await all_of(events)
    assert [(event.name, event.data) for event in told] == [
        ("error", "The PNG is damaged."), ("done", '{"reason": "error"}')
    ]  # fmt: skip


@pytest.mark.parametrize(
    "path", ["/v1/predictions/{}/events", "/v1/events", "/v1/predictions/{}/stream"]
)
async def test_streams_end_when_the_process_stops(
    api: Api, parts: Parts, url: str, jpeg: bytes, path: str
) -> None:
    made = await api.submit(jpeg)
    async with stream(url, path.format(made["id"])) as events:
        parts.watching.leave()
        async with asyncio.timeout(3):
            assert len([event async for event in events]) <= 1


async def test_a_client_that_goes_is_watched_for_no_longer(
    api: Api, parts: Parts, url: str, jpeg: bytes
) -> None:
    made = await api.submit(jpeg)
    async with stream(url, f"/v1/predictions/{made['id']}/events") as events:
        await anext(events)
        assert parts.watching._of_job
    async with asyncio.timeout(DEADLINE):
        while parts.watching._of_job:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/v1/events", "7"),
        ("/v1/events", "x-1"),
        ("/v1/predictions/{}/events", "-1"),
        ("/v1/predictions/{}/events", "٣"),
        ("/v1/predictions/{}/events", "9" * 10),
        ("/v1/predictions/{}/stream", "3"),
    ],
)
async def test_an_id_that_is_not_ours_is_refused(
    api: Api, jpeg: bytes, path: str, word: str
) -> None:
    made = await api.submit(jpeg)
    headers = {"Last-Event-ID": word.encode()}
    reply = await api.client.get(path.format(made["id"]), headers=headers)  # type: ignore[arg-type]
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_event_id")
    assert "leave it out" in reply.json()["detail"]


@pytest.mark.parametrize("kind", ["events", "stream"])
async def test_a_stream_of_no_job_is_a_problem(api: Api, kind: str) -> None:
    reply = await api.client.get(f"/v1/predictions/none/{kind}")
    assert (reply.status_code, reply.json()["code"]) == (404, "unknown_prediction")
