"""Engines that end in the middle of a job: segfaults, memory, and a poison among good inputs."""

from __future__ import annotations

import httpx2
import pytest

from tests.faults.conftest import OnBoth
from tests.faults.looking import all_is_well, ended, send, with_models
from tests.faults.stack import FaultStack
from tests.pictures import plain_png

MODEL = "test/fragile"
SEGFAULT, SEGFAULT_ONCE, TOO_LARGE, KILLED_ONCE = 13, 14, 15, 16  # pixels wide
FRAGILE = f"""
import ctypes, os, resource, signal
from pathlib import Path
from consumers.custom_infer import CustomModel

def first(name):
    try:
        (Path(__file__).parent / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True

class Fragile(CustomModel):
    def load(self): pass
    def infer(self, image):
        wide = image.width
        if wide == {SEGFAULT} or wide == {SEGFAULT_ONCE} and first("segfault"):
            ctypes.string_at(0)
        if wide == {KILLED_ONCE} and first("killed"):  # as the kernel does it, out of memory
            os.kill(os.getpid(), signal.SIGKILL)
        if wide == {TOO_LARGE}:
            before = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (2**32, before[1]))
            try:
                bytearray(2**33)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, before)
        return f"{{wide}} wide"
"""
NEIGHBOURS = 31


@pytest.mark.timeout(1200)
def test_an_engine_that_dies_costs_the_job_that_killed_it_and_no_other(on_both: OnBoth) -> None:
    on_both(kill_engines)


def kill_engines(stack: FaultStack) -> None:
    (stack.folder / "fragile.py").write_text(FRAGILE)
    with_models(stack, f"{MODEL} task=custom path={stack.folder}/fragile.py makes=text")
    stack.api()
    stack.recorder()
    stack.notifier()
    stack.consumer(model=MODEL)
    stack.start()
    a_poison_among_good_inputs(stack)
    for width in (SEGFAULT_ONCE, KILLED_ONCE):
        job = ended(stack, send(stack, MODEL, image=plain_png(width))["id"])
        assert (job["output"], job["attempt"]) == (f"{width} wide", 2)
    large = ended(stack, send(stack, MODEL, image=plain_png(TOO_LARGE))["id"])
    assert (large["status"], large["error_code"], large["attempt"]) == (
        "failed",
        "out_of_memory",
        1,
    )
    after = ended(stack, send(stack, MODEL, image=plain_png(100))["id"])
    assert (after["status"], after["output"]) == ("succeeded", "100 wide")
    verdict = all_is_well(stack, "engine_crashed", "out_of_memory")
    assert verdict.ends == {"succeeded": NEIGHBOURS + 3, "engine_crashed": 1, "out_of_memory": 1}
    assert not stack.supervisor.deaths  # the parent lived through all of it


def a_poison_among_good_inputs(stack: FaultStack) -> None:
    widths = list(range(100, 100 + NEIGHBOURS))
    widths.insert(NEIGHBOURS // 2, SEGFAULT)
    sent = [(width, send(stack, MODEL, image=plain_png(width))["id"]) for width in widths]
    for width, id in sent:
        job = ended(stack, id)
        if width == SEGFAULT:
            assert (job["status"], job["error_code"], job["attempt"]) == (
                "failed",
                "engine_crashed",
                3,
            )
            assert "SIGSEGV" in job["error"]
            poison = id
        else:
            assert (job["output"], job["attempt"]) == (f"{width} wide", 1)
    with httpx2.Client(base_url=stack.urls[0], timeout=60, trust_env=False) as client:
        letters = client.get("/v1/dead-letters").raise_for_status().json()["results"]
    assert [(letter["id"], letter["cause"]) for letter in letters] == [(poison, "engine_crashed")]
