"""What webhooks say, within 20,000 bytes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from api.presenting import shown
from api.schemas import Queue
from api.webhooks.body import body_of
from common.job import JobSpec, JobState, Output
from tests.ledger import new_job

LARGE = "x" * 19_000


def body(**fields: Any) -> Any:
    job = new_job(state=JobState.SUCCEEDED, completed_at=9.0, **fields)
    queue = Queue(position=None, eta_seconds=None, reason="")
    encoded = body_of(shown(job, "http://darkroom.test", queue))
    assert len(encoded) <= 20_000
    return json.loads(encoded)


def spec(prompt: str) -> JobSpec:
    return JobSpec(model="darkroom/echo", parameters={"prompt": prompt})


def test_a_small_one_is_the_prediction_itself() -> None:
    job = new_job(logs="ran", output=Output(text="a ring"))
    prediction = shown(job, "http://d.test", Queue(position=None, eta_seconds=None, reason=""))
    assert body_of(prediction) == msgspec.json.encode(prediction)


def test_logs_go_first() -> None:
    told = body(logs=LARGE, spec=spec("p" * 3000), output=Output(text="a ring"))
    assert told["truncated"] is True
    assert told["logs"] == ""
    assert (told["input"]["prompt"], told["output"]) == ("p" * 3000, "a ring")


def test_then_the_input() -> None:
    told = body(logs=LARGE, spec=spec(LARGE), output=Output(text="a ring"))
    assert (told["logs"], told["input"], told["output"]) == ("", {}, "a ring")


def test_then_the_output_and_the_link_stays() -> None:
    told = body(output=Output(text=LARGE + "y" * 1000), spec=spec("p"))
    assert (told["input"], told["output"], told["truncated"]) == ({}, None, True)
    assert "/v1/results/" in told["access_link"]


@pytest.mark.parametrize("sign", ["x", "é", "\u2028", '"', "\x01"])
def test_whatever_a_job_holds_there_is_a_body(sign: str) -> None:
    told = body(
        logs=sign * 30_000,
        error=sign * 30_000,
        metadata={"note": sign * 16_000},
        labels=(sign * 100,) * 20,
    )
    assert told["status"] == "succeeded"
    assert told["truncated"] is True
