"""What is accepted survives whatever dies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.e2e.stack import Json, Stack, embedded, eventually, on_servers

JOBS = 200
OpenStack = Callable[..., Stack]


@pytest.fixture(params=["embedded", "servers"])
def open_stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStack]:
    """Opens a stack of the test's own, and stops it afterwards."""
    opened: list[Stack] = []

    def open_one(**settings: str) -> Stack:
        if request.param == "embedded":
            stack = embedded(tmp_path, **settings)
        else:
            stack = on_servers(tmp_path, request.getfixturevalue("servers"), **settings)
        opened.append(stack)
        return stack

    yield open_one
    for stack in opened:
        if stack.processes:
            stack.stop()


def echo(client: httpx2.Client, prompt: str, delay: float = 0.0) -> str:
    reply = client.post(
        "/v1/predictions",
        json={"model": "darkroom/echo", "input": {"prompt": prompt, "delay": delay}},
    )
    assert reply.status_code == 202, reply.text
    id: str = reply.json()["id"]
    return id


def all_jobs(stack: Stack) -> list[Json]:
    """Every job, page by page."""
    jobs: list[Json] = []
    with stack.client() as client:
        page = "/v1/predictions"
        while page:
            reply = client.get(page).raise_for_status().json()
            jobs += reply["results"]
            page = reply["next"]
    return jobs


def test_a_job_survives_the_death_of_its_engine(open_stack: OpenStack) -> None:
    stack = open_stack()
    stack.start()
    with stack.client() as client:
        id = echo(client, "still here", delay=5)
    eventually(lambda: stack.job(id)["status"] == "processing")
    (engine,) = stack.engines()
    engine.kill()
    ended = stack.ended(id)
    assert (ended["status"], ended["output"]) == ("succeeded", "still here")
    assert ended["attempt"] == 2


def test_two_hundred_queued_jobs_survive_the_death_of_everything(open_stack: OpenStack) -> None:
    stack = open_stack()
    stack.start()
    with stack.client() as client:
        ids = [echo(client, f"job {number}", delay=0.02) for number in range(JOBS)]
    eventually(lambda: any(job["status"] == "succeeded" for job in all_jobs(stack)))
    stack.kill()
    stack.start()
    eventually(lambda: {job["status"] for job in all_jobs(stack)} == {"succeeded"}, seconds=400)
    jobs = {job["id"]: job for job in all_jobs(stack)}
    assert set(jobs) == set(ids)
    assert [jobs[id]["output"] for id in ids] == [f"job {number}" for number in range(JOBS)]
    in_flight = 2  # what one consumer may have begun and not finished
    assert sum(job["attempt"] for job in jobs.values()) <= JOBS + in_flight


def test_ctrl_c_stops_all_and_the_next_start_goes_on_with_the_queue(open_stack: OpenStack) -> None:
    stack = open_stack()
    stack.start()
    with stack.client() as client:
        for number in range(20):
            echo(client, str(number), delay=0.3)
    eventually(lambda: any(job["status"] == "succeeded" for job in all_jobs(stack)))
    stack.stop()  # fails if a process is left
    stack.start()
    eventually(lambda: {job["status"] for job in all_jobs(stack)} == {"succeeded"})
    assert all(job["attempt"] == 1 for job in all_jobs(stack))  # a stop runs nothing twice


def test_a_stop_answers_who_waits_with_the_job_as_it_stands(open_stack: OpenStack) -> None:
    stack = open_stack()
    stack.start()
    replies: list[httpx2.Response] = []

    def wait_long() -> None:
        with stack.client() as client:
            body = {"model": "darkroom/echo", "input": {"delay": 5}}
            headers = {"Prefer": "wait=60"}
            replies.append(client.post("/v1/predictions", json=body, headers=headers))

    waiting = threading.Thread(target=wait_long)
    waiting.start()
    eventually(lambda: [job for job in all_jobs(stack) if job["status"] == "processing"])
    stack.stop()
    waiting.join()
    assert [(reply.status_code, reply.json()["status"]) for reply in replies] == [(202, "starting")]
