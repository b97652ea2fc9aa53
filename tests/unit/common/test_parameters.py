from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.catalogue import ModelSpec, Task
from common.errors import BadInput
from common.job import Parameter
from common.parameters import (
    ImageToImageParameters,
    check_parameters,
    needs_image,
    parameters_schema,
    read_parameters,
    repeatable_parameters,
)


def refusal(task: Task | None, raw: dict[str, object]) -> str:
    with pytest.raises(BadInput) as caught:
        check_parameters(task, raw)
    assert caught.value.code == "invalid_parameter"
    return str(caught.value)


def test_what_a_form_sends_as_text_becomes_numbers() -> None:
    raw = {"strength": "0.5", "steps": "12", "prompt": "12"}
    assert check_parameters(Task.IMAGE_TO_IMAGE, raw) == {
        "strength": 0.5,
        "steps": 12,
        "prompt": "12",
    }


def test_only_what_was_given_is_kept_and_null_counts_as_not_given() -> None:
    assert check_parameters(Task.IMAGE_TO_TEXT, {"seed": None, "num_beams": 2}) == {"num_beams": 2}


@pytest.mark.parametrize(
    ("task", "name", "value", "allowed"),
    [
        (Task.IMAGE_TO_IMAGE, "strength", "1.5", "a number from 0 to 1"),
        (Task.IMAGE_TO_IMAGE, "strength", "nan", "a number from 0 to 1"),
        (Task.IMAGE_TO_IMAGE, "steps", 0, "a whole number from 1 to 150"),
        (Task.IMAGE_TO_IMAGE, "steps", True, "a whole number from 1 to 150"),
        (Task.IMAGE_TO_IMAGE, "guidance", "inf", "a number from 0 to 50"),
        (Task.IMAGE_TO_IMAGE, "output_format", "gif", "one of jpeg, png, webp"),
        (Task.IMAGE_TO_TEXT, "top_p", 0, "a number above 0 to 1"),
        (Task.IMAGE_TO_TEXT, "max_new_tokens", 2.5, "a whole number from 1 to 1024"),
        (Task.IMAGE_TO_TEXT, "seed", -1, "a whole number from 0 to 9223372036854775807"),
        (Task.ECHO, "delay", 61, "a number from 0 to 60"),
        (Task.CUSTOM, "prompt", ["x"], "a text"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    task: Task, name: str, value: object, allowed: str
) -> None:
    assert refusal(task, {name: value}) == f"{name}={value!r} is not allowed: give {allowed}."


def test_an_unknown_parameter_lists_the_known_ones() -> None:
    said = refusal(Task.ECHO, {"Delay": 1})
    assert said == (
        "There is no parameter 'Delay' for echo models. Known parameters: prompt, delay."
    )


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [("a\0b", "NUL"), ("\ud800", "lone surrogate"), ("ü" * 16_385, "32768")],
)
def test_text_that_cannot_travel_is_refused(prompt: str, reason: str) -> None:
    for name in ("negative_prompt", "output_format", "seed"):
        assert reason in refusal(Task.IMAGE_TO_IMAGE, {name: prompt})


def test_a_long_wrong_value_is_not_repeated_in_full() -> None:
    assert len(refusal(Task.IMAGE_TO_IMAGE, {"steps": "9" * 10_000})) < 200
    assert len(refusal(Task.IMAGE_TO_IMAGE, {"x" * 100_000: 1})) < 300


def test_a_prompt_of_exactly_32_kb_is_taken() -> None:
    assert check_parameters(Task.CUSTOM, {"prompt": "x" * 32_768})


def test_a_model_that_is_not_here_yet_takes_what_any_of_its_tasks_takes() -> None:
    assert check_parameters(None, {"steps": 4, "max_new_tokens": 5}) == {
        "steps": 4,
        "max_new_tokens": 5,
    }
    assert "delay" in refusal(None, {"delay": 1})


def test_the_request_goes_before_the_models_line_and_that_before_the_default() -> None:
    model = ModelSpec(name="a/b", steps=4, guidance=0.0)
    read = read_parameters(model, Task.IMAGE_TO_IMAGE, ImageToImageParameters, {"steps": 8})
    assert (read.steps, read.guidance, read.strength) == (8, 0, 0.6)


def test_a_wrong_option_of_the_models_line_is_refused_like_a_request() -> None:
    model = ModelSpec(name="a/b", steps=4000)
    with pytest.raises(BadInput, match="steps=4000"):
        read_parameters(model, Task.IMAGE_TO_IMAGE, ImageToImageParameters, {})


def test_the_schema_tells_types_ranges_and_defaults() -> None:
    schema = parameters_schema(Task.IMAGE_TO_IMAGE)
    steps = schema["properties"]["steps"]
    assert (steps["type"], steps["minimum"], steps["maximum"], steps["default"]) == (
        "integer",
        1,
        150,
        30,
    )
    assert "default" not in schema["properties"]["seed"]
    assert schema["additionalProperties"] is False


def test_every_default_is_itself_allowed() -> None:
    for task in Task:
        properties = parameters_schema(task)["properties"]
        defaults = {name: said["default"] for name, said in properties.items() if "default" in said}
        assert check_parameters(task, defaults) == defaults


def test_only_echo_works_without_an_image() -> None:
    assert [task for task in (*Task, None) if not needs_image(task)] == [Task.ECHO]


@given(st.dictionaries(st.text(), st.none() | st.text() | st.integers() | st.floats(), max_size=3))
def test_anything_else_is_either_taken_or_refused(raw: dict[str, object]) -> None:
    try:
        checked = check_parameters(Task.IMAGE_TO_IMAGE, raw)
    except BadInput:
        return
    assert msgspec.json.decode(msgspec.json.encode(checked)) == checked


def test_checking_needs_nothing_heavy() -> None:
    code = "import sys, common.parameters; print([m for m in ('torch', 'PIL') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("task", "said", "repeatable"),
    [
        (Task.ECHO, {}, True),
        (Task.IMAGE_TO_TEXT, {}, True),
        (Task.IMAGE_TO_TEXT, {"num_beams": 4}, True),
        (Task.IMAGE_TO_TEXT, {"temperature": 0.1, "seed": 1}, False),
        (Task.IMAGE_TO_IMAGE, {}, False),
        (Task.IMAGE_TO_IMAGE, {"seed": 0}, True),
        (Task.CUSTOM, {}, False),
        (None, {}, False),
    ],
)
def test_what_is_sampled_or_unknown_is_not_repeatable(
    task: Task | None, said: dict[str, Parameter], repeatable: bool
) -> None:
    known = repeatable_parameters(ModelSpec(name="a/b", task=task), said)
    assert (known is not None) == repeatable


def test_what_a_models_line_says_counts_as_much_as_what_a_request_does() -> None:
    plain, told = (
        ModelSpec(name="a/b", task=Task.IMAGE_TO_TEXT, prompt=p) for p in (None, "Hello")
    )
    said = repeatable_parameters(plain, {"prompt": "Hello"})
    assert repeatable_parameters(told, {}) == said != repeatable_parameters(plain, {})
