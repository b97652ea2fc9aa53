"""Thousands of hostile files while others work: everybody gets an answer, and nobody dies."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

import httpx2
import psutil
import pytest

from api.problems import CODES
from consumers.custom_infer.palette import Palette
from models.shapes.draw import draw
from tests.abuse.bad_files import BadFile, bad_files
from tests.e2e.stack import Json, Stack, eventually, on_servers
from tests.e2e.test_journey import png

SEED = 20261121
COUNT = 2000
AT_ONCE = 16
BAD_FOR_A_GOOD = 125  # at most so many bad files for each good one that is answered
GROWTH_OF_API = 32 * 2**20  # bytes that it may hold more than before: 16 KiB for each bad file
GROWTH = 96 * 2**20  # bytes that any other process may: the engine keeps most
PEAK = 2**30  # bytes that a process may hold at any time
MODEL = "darkroom/palette"


@pytest.fixture(scope="module")
def stack(servers: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """On real servers, with one consumer; a client that a busy machine stalls is not cut off."""
    folder = tmp_path_factory.mktemp("stack")
    running = on_servers(folder, servers, DARKROOM_SLOTS="1", DARKROOM_REQUEST_SECONDS="300")
    running.start()
    yield running
    running.stop()


class GoodLoad:
    """Drawn pictures, one after the other, until it is told to stop."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._enough = stack, threading.Event()
        self._palette = Palette()
        self._palette.load()
        self.wrong: list[Json] = []
        self.right = 0
        self._thread = threading.Thread(target=self._post_all)

    def __enter__(self) -> GoodLoad:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def post_one(self, client: httpx2.Client) -> None:
        image, _ = draw(SEED + self.right)
        made = client.post(
            "/v1/predictions",
            data={"model": MODEL},
            files={"image": png(image)},
            headers={"Prefer": "wait=60"},
        ).json()
        ended = self._stack.ended(made["id"], seconds=240) if made["output"] is None else made
        if ended["output"] == self._palette.infer(image):
            self.right += 1
        else:
            self.wrong.append(ended)

    def _post_all(self) -> None:
        with self._stack.client() as client:
            while not self._enough.is_set() and not self.wrong:
                self.post_one(client)


async def post(client: httpx2.AsyncClient, number: int, file: BadFile) -> httpx2.Response:
    """Every tenth as a data URI in JSON, every tenth as an upload to be used later."""
    if number % 10 == 1 and len(file.content) < 100_000:
        uri = f"data:{file.content_type};base64,{base64.b64encode(file.content).decode()}"
        body = {"model": MODEL, "input": {"image": uri}}
        return await client.post("/v1/predictions", json=body)
    part = (file.name, file.content, file.content_type or "application/octet-stream")
    if number % 10 == 2:
        return await client.post("/v1/files", files={"content": part})
    return await client.post("/v1/predictions", data={"model": MODEL}, files={"image": part})


async def post_all(stack: Stack) -> dict[str, str]:
    """The accepted jobs, by id, with the family of their file."""
    accepted: dict[str, str] = {}
    files = enumerate(list(bad_files(SEED, COUNT)))  # made before any connection waits

    async def some(client: httpx2.AsyncClient) -> None:
        for number, file in files:
            reply = await post(client, number, file)
            if reply.status_code == 202:
                accepted[reply.json()["id"]] = file.family
                continue
            if reply.status_code == 201:
                continue
            problem = reply.json()
            assert 400 <= reply.status_code < 500, (number, file.family, reply.text)
            assert problem["code"] in CODES, (number, file.family, reply.text)
            assert problem["detail"], (number, file.family, reply.text)

    async with httpx2.AsyncClient(base_url=stack.url, timeout=120, trust_env=False) as client:
        await asyncio.gather(*(some(client) for _ in range(AT_ONCE)))
    return accepted


def ended_jobs(stack: Stack, accepted: Collection[str]) -> dict[str, Json] | None:
    """All of them by id, page by page; None while one has not ended."""
    jobs: dict[str, Json] = {}
    with stack.client() as client:
        for status in ("starting", "processing"):
            reply = client.get(f"/v1/predictions?status={status}").raise_for_status().json()
            if any(job["id"] in accepted for job in reply["results"]):
                return None
        for status in ("succeeded", "failed", "canceled"):
            page = f"/v1/predictions?status={status}"
            while page:
                reply = client.get(page).raise_for_status().json()
                jobs |= {job["id"]: job for job in reply["results"]}
                page = reply["next"]
    return jobs if jobs.keys() >= set(accepted) else None


def program(process: psutil.Process) -> str:
    return " ".join(process.cmdline()[1:])


def resident(stack: Stack) -> dict[int, int]:
    """Bytes of each process, by its id."""
    return {process.pid: process.memory_info().rss for process in stack.members()}


def peaks(stack: Stack) -> dict[str, int]:
    """The most bytes that each process ever held, where the system tells (Linux)."""
    found = {}
    for process in stack.members():
        status = Path(f"/proc/{process.pid}/status")
        if status.exists():
            (line,) = [one for one in status.read_text().splitlines() if one.startswith("VmHWM")]
            found[program(process)] = int(line.split()[1]) * 1024
    return found


@pytest.mark.timeout(900)
def test_bad_files_hurt_nobody(stack: Stack) -> None:
    good = GoodLoad(stack)
    with stack.client() as client:
        good.post_one(client)  # the consumer is there
    assert good.right == 1, good.wrong
    before = resident(stack)
    with good:
        accepted = asyncio.run(post_all(stack))
        ended = eventually(lambda: ended_jobs(stack, accepted), seconds=600)
    assert not good.wrong
    assert good.right >= COUNT // BAD_FOR_A_GOOD
    strange = [
        (family, ended[id]["error_code"], ended[id]["error"])
        for id, family in accepted.items()
        if ended[id]["status"] != "succeeded"
        and (ended[id]["status"], ended[id]["error_code"]) != ("failed", "bad_input")
    ]
    assert not strange
    after = resident(stack)
    assert before.keys() == after.keys(), stack.output.read_text()[-3000:]
    grown = {program(psutil.Process(pid)): after[pid] - before[pid] for pid in before}
    assert grown.pop("-m api serve") < GROWTH_OF_API
    assert not {name: more for name, more in grown.items() if more >= GROWTH}
    assert not {name: peak for name, peak in peaks(stack).items() if peak >= PEAK}
