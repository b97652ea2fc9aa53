from __future__ import annotations

import time

import pytest

from common.catalogue import ModelSpec, Task
from consumers.engines.base import Engine, EngineInput, EngineOutput, EngineRefusal, EngineStop
from tests.unit.consumers.engines.conftest import Notes, ask, opened


@pytest.fixture
def echo() -> Engine:
    return opened(ModelSpec(name="darkroom/echo", task=Task.ECHO))


def test_it_answers_the_prompt_or_what_it_was_sent(echo: Engine, photo: bytes) -> None:
    assert ask(echo, photo, {"prompt": "hello"}) == EngineOutput(text="hello")
    assert ask(echo, photo) == EngineOutput(text="120x80 JPEG")
    assert ask(echo, None) == EngineOutput(text="echo")


def test_a_bad_picture_refuses_only_itself(echo: Engine, photo: bytes) -> None:
    batch = [
        EngineInput(id="1", inputs={"image": photo}),
        EngineInput(id="2", inputs={"image": b"no picture"}),
        EngineInput(id="3", parameters={"strength": 0.5}),
        EngineInput(id="4", parameters={"prompt": "last"}),
    ]
    first, bad_picture, bad_parameter, last = echo.run(batch, Notes())
    assert (first, last) == (EngineOutput(text="120x80 JPEG"), EngineOutput(text="last"))
    assert isinstance(bad_picture, EngineRefusal)
    assert bad_picture.code == "bad_input"
    assert isinstance(bad_parameter, EngineRefusal)
    assert bad_parameter.code == "invalid_parameter"


def test_a_delay_takes_its_time_and_tells_how_far_it_is(echo: Engine) -> None:
    run, began = Notes(), time.monotonic()
    assert ask(echo, None, {"delay": 0.8, "prompt": "x"}, run) == EngineOutput(text="x")
    assert time.monotonic() - began >= 0.8
    assert run.told
    assert run.told == sorted(run.told)
    assert all(0 < fraction < 1 for fraction in run.told)


def test_a_delay_ends_when_the_job_is_canceled(echo: Engine) -> None:
    began = time.monotonic()
    assert ask(echo, None, {"delay": 60}, Notes(cancel_at=4)) == EngineStop()
    assert time.monotonic() - began < 30


def test_a_job_that_was_canceled_before_its_turn_is_not_run(echo: Engine) -> None:
    assert ask(echo, None, {"prompt": "x"}, Notes(cancel_at=1)) == EngineStop()
