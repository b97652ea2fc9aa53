"""One idempotency key in fifty requests at once, over two API processes on real servers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import httpx2
import pytest

from common.job_log import open_job_log
from common.topic import job_topics
from tests.abuse.conftest import MODEL, echo_catalogue
from tests.e2e.stack import Stack, eventually, free_port, on_servers

pytestmark = pytest.mark.anyio

AT_ONCE = 50
Send = Callable[[httpx2.AsyncClient], Coroutine[Any, Any, httpx2.Response]]


@pytest.fixture(scope="module")
def urls(
    servers: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stack, list[str]]]:
    """A stack without consumers, and the addresses of its two API processes."""
    folder = tmp_path_factory.mktemp("storm")
    stack = on_servers(folder, servers, **echo_catalogue(folder))
    stack.programs = (("api", "serve"), ("api", "record"))
    stack.start()
    first = stack.url
    stack.port = free_port()
    stack.url = f"http://127.0.0.1:{stack.port}"
    stack.environment["DARKROOM_PORT"] = str(stack.port)
    stack.spawn(("api", "serve"))
    eventually(stack.ready)
    yield stack, [first, stack.url]
    stack.stop()


async def storm(urls: list[str], send: Send) -> list[httpx2.Response]:
    """The replies to as many requests at once, half of them to each process."""
    clients = [httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) for url in urls]
    try:
        return await asyncio.gather(*(send(clients[n % 2]) for n in range(AT_ONCE)))
    finally:
        for client in clients:
            await client.aclose()


def only_job(replies: list[httpx2.Response]) -> str:
    """The id that every reply names, but for those that say to come again."""
    shown = [reply for reply in replies if reply.status_code == 202]
    for reply in replies:
        if reply.status_code != 202:
            assert reply.status_code == 409, reply.text
            assert int(reply.headers["retry-after"]) > 0
    ids = {reply.json()["id"] for reply in shown}
    assert len(ids) == 1
    if shown[0].request.method == "POST":
        first = [reply for reply in shown if "idempotent-replayed" not in reply.headers]
        assert len(first) == 1
    only: str = ids.pop()
    return only


async def jobs_made(stack: Stack, urls: list[str]) -> tuple[list[str], int]:
    """Ids in the ledger, and how many messages the model's topics hold."""
    async with httpx2.AsyncClient(base_url=urls[0], trust_env=False, timeout=60) as client:
        listed = (await client.get("/v1/predictions")).json()["results"]
    log = await open_job_log(stack.environment["DARKROOM_JOB_LOG_URL"])
    bounds = await log.bounds(dict.fromkeys(job_topics(MODEL), None))
    await log.close()
    return [job["id"] for job in listed], sum(partition.end for partition in bounds.values())


async def test_fifty_identical_keys_at_once_make_one_job(urls: tuple[Stack, list[str]]) -> None:
    stack, addresses = urls
    before, appended = await jobs_made(stack, addresses)
    body = {"model": MODEL, "input": {"prompt": "once"}}
    key = {"Idempotency-Key": "storm"}

    async def send(client: httpx2.AsyncClient) -> httpx2.Response:
        return await client.post("/v1/predictions", json=body, headers=key)

    job = only_job(await storm(addresses, send))
    assert await jobs_made(stack, addresses) == ([job, *before], appended + 1)
    other = {**body, "input": {"prompt": "twice"}}
    async with httpx2.AsyncClient(base_url=addresses[1], timeout=60, trust_env=False) as client:
        reply = await client.post("/v1/predictions", json=other, headers=key)
    assert (reply.status_code, reply.json()["code"]) == (422, "idempotency_key_reused")


async def test_fifty_identical_ids_at_once_make_one_job(urls: tuple[Stack, list[str]]) -> None:
    stack, addresses = urls
    before, appended = await jobs_made(stack, addresses)
    chosen = str(uuid.uuid4())
    body = {"model": MODEL, "input": {"prompt": "once"}}

    async def send(client: httpx2.AsyncClient) -> httpx2.Response:
        return await client.put(f"/v1/predictions/{chosen}", json=body)

    assert only_job(await storm(addresses, send)) == chosen
    made, messages = await jobs_made(stack, addresses)
    assert sorted(made) == sorted([chosen, *before])
    assert messages == appended + 1
