"""Every process dies once at each of its named points, under load, and is started again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from common.crash_points import POINTS
from tests.e2e.stack import eventually
from tests.faults.asking import Asking
from tests.faults.conftest import OnBoth
from tests.faults.looking import (
    all_is_well,
    chain,
    ended,
    request_for,
    send,
    with_models,
)
from tests.faults.stack import FaultStack
from tests.pictures import plain_png

# Whether the job was there when the process died, so that a retry shows it and makes none.
API = {
    "api.before_put": False,
    "api.before_commit": False,
    "api.after_commit": True,
    "api.before_reply": True,
}
# Attempts of the job that a consumer had in hand when it died there: one that had not told of its
# start begins for the first time again, and one that had told of its end has it.
CONSUMER = {
    "consumer.received": 1,
    "consumer.fetched": 2,
    "consumer.ran": 2,
    "consumer.stored": 2,
    "consumer.told": 1,
    "consumer.acknowledged": 1,
}
ENGINE = ("engine.before_run", "engine.after_run")


@pytest.mark.timeout(1200)
def test_a_death_at_any_point_loses_nothing_and_shows_nothing_twice(on_both: OnBoth) -> None:
    on_both(
        die_everywhere,
        # Of the plain recorder, which looks at every start; the sweeper is one of its own.
        DARKROOM_SWEEP_SECONDS="600",
        DARKROOM_SWEEP_AFTER_SECONDS="600",
    )


def die_everywhere(stack: FaultStack) -> None:
    armed = processes_of(stack)
    stack.start()
    for number, (point, was_there) in enumerate(API.items()):
        retried(stack, armed[point], was_there, plain_png(100 + number))
    with ThreadPoolExecutor(len(CONSUMER)) as pool:
        list(pool.map(lambda point: survived_by_its_job(stack, point), CONSUMER))
    for point in ENGINE:
        a_dead_letter_until_the_engine_is_sound(stack, point)
    models = tuple(map(model_of, CONSUMER))
    asking = Asking(models=models, webhook=stack.receiver.url)
    with stack.load(asking, rate=10, clients=2) as load:
        eventually(lambda: set(stack.supervisor.hits) == set(POINTS), seconds=400)
    verdict = all_is_well(stack, "engine_crashed")
    assert verdict.ends["engine_crashed"] == len(ENGINE)
    assert not load.unexpected


def model_of(point: str) -> str:
    return point.replace(".", "/")


def processes_of(stack: FaultStack) -> dict[str, str]:
    """A program for every point; the URLs of the APIs by theirs."""
    with_models(stack, *(f"{model_of(point)} task=echo" for point in (*CONSUMER, *ENGINE)))
    stack.api()
    urls = {}
    for point in API:
        stack.api(point, crash_at=chain(point))
        urls[point] = stack.urls[-1]
    stack.recorder(
        crash_at=chain(
            "recorder.before_commit", "recorder.after_commit", "recorder.after_announcement"
        )
    )
    stack.recorder(
        "sweeper",
        crash_at=chain("sweeper.before_append", "sweeper.after_append"),
        DARKROOM_SWEEP_SECONDS="1",
        DARKROOM_SWEEP_AFTER_SECONDS="2",
    )
    stack.notifier(crash_at=chain("notifier.before_post", "notifier.after_post"))
    for point in (*CONSUMER, *ENGINE):
        stack.consumer(point, crash_at=chain(point), model=model_of(point))
    return urls


def retried(stack: FaultStack, url: str, was_there: bool, image: bytes) -> None:
    """The client hears nothing; the same request to another process makes, or shows, one job."""
    model, key = model_of("consumer.received"), f"key of {url}"
    asked = request_for(stack, model, image=image)
    headers = {"Idempotency-Key": key}
    with httpx2.Client(timeout=60, trust_env=False, headers=headers) as client:
        with pytest.raises(httpx2.TransportError):
            client.post(f"{url}/v1/predictions", **asked)
        replies = [client.post(f"{stack.urls[0]}/v1/predictions", **asked) for _ in range(2)]
    assert {reply.status_code for reply in replies} <= {201, 202}  # it may have ended already
    shown = [reply.headers.get("Idempotent-Replayed") == "true" for reply in replies]
    assert shown == [was_there, True]
    for reply in replies:
        stack.journal.accepted(reply.json()["id"], request=key, model=model, webhook=True, key=key)


def survived_by_its_job(stack: FaultStack, point: str) -> None:
    job = send(stack, model_of(point), prompt=point)
    eventually(lambda: point in stack.supervisor.hits)
    done = ended(stack, job["id"])
    assert (done["status"], done["output"]) == ("succeeded", point)
    assert done["attempt"] == CONSUMER[point], point


def a_dead_letter_until_the_engine_is_sound(stack: FaultStack, point: str) -> None:
    """Each of the engine's processes dies there, so the job is a poison to them."""
    job = send(stack, model_of(point), prompt=point)
    failed = ended(stack, job["id"])
    assert (failed["status"], failed["attempt"]) == ("failed", 3)
    assert failed["error_code"] == "engine_crashed"
    assert "SIGKILL" in failed["error"]
    stack.supervisor.programs[point].crash_at = lambda _: ""
    stack.supervisor.signal(point)
    with httpx2.Client(base_url=stack.urls[0], timeout=60, trust_env=False) as client:
        letter = client.get("/v1/dead-letters", params={"model": model_of(point)}).json()
        assert [each["id"] for each in letter["results"]] == [job["id"]]
        replay = client.post(f"/v1/dead-letters/{job['id']}/replay").raise_for_status().json()
    again = ended(stack, replay["results"][0]["prediction"])
    assert (again["status"], again["output"], again["attempt"]) == ("succeeded", point, 1)
