from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from common.catalogue import ModelSpec, Task
from consumers.engines.base import Engine, EngineInput, EngineOutput, EngineRefusal, EngineStop
from consumers.engines.generation import Watch
from tests.unit.consumers.engines.conftest import Notes, ask, opened, saved

SPECIAL = ("[PAD]", "[UNK]", "[BOS]", "[EOS]", "<image>", "USER", "ASSISTANT")


@pytest.fixture(scope="module", params=["git", "blip", "vlm"])
def engine(request: pytest.FixtureRequest, tiny: Callable[[str], Path]) -> Engine:
    return opened(spec(tiny(request.param)))


@pytest.fixture(scope="module")
def git(tiny: Callable[[str], Path]) -> Engine:
    return opened(spec(tiny("git")))


def spec(folder: Path, **options: object) -> ModelSpec:
    return ModelSpec(name="me/tiny", task=Task.IMAGE_TO_TEXT, path=folder, **options)  # type: ignore[arg-type]


def said(result: object) -> str:
    assert isinstance(result, EngineOutput)
    assert result.text is not None
    return result.text


def refusal(result: object) -> str:
    assert isinstance(result, EngineRefusal)
    return result.error


def test_every_kind_of_model_writes_words_and_no_special_tokens(
    engine: Engine, photo: bytes
) -> None:
    text = said(ask(engine, photo))
    assert text
    assert text == text.strip()
    assert not [token for token in SPECIAL if token in text]
    assert engine.device == "cpu"


def test_the_same_input_gives_the_same_text_and_no_more_words_than_asked(
    engine: Engine, photo: bytes
) -> None:
    first = said(ask(engine, photo, {"max_new_tokens": 3}))
    assert first == said(ask(engine, photo, {"max_new_tokens": 3}))
    assert 1 <= len(first.split()) <= 3
    assert said(ask(engine, photo)).startswith(first)


def test_the_prompt_counts_and_is_not_repeated(engine: Engine, photo: bytes) -> None:
    prompted = said(ask(engine, photo, {"prompt": "what is a red star on", "max_new_tokens": 6}))
    assert "what is a red star on" not in prompted
    assert len(prompted.split()) <= 6
    assert prompted != said(ask(engine, photo, {"max_new_tokens": 6}))


def test_a_seed_repeats_a_sample_and_none_does_not(engine: Engine, photo: bytes) -> None:
    wild = {"temperature": 2.0, "max_new_tokens": 20}
    first = said(ask(engine, photo, {**wild, "seed": 1}))
    assert said(ask(engine, photo, {**wild, "seed": 1})) == first
    assert len({said(ask(engine, photo, wild)) for _ in range(6)}) > 1


def test_beams_are_searched(engine: Engine, photo: bytes) -> None:
    assert said(ask(engine, photo, {"num_beams": 3, "max_new_tokens": 6}))
    warm = {"num_beams": 2, "temperature": 0.5, "max_new_tokens": 6, "seed": 1}
    assert said(ask(engine, photo, warm)) == said(ask(engine, photo, warm))


def test_a_cancellation_stops_at_the_next_token(engine: Engine, photo: bytes) -> None:
    run = Notes(cancel_at=3)
    assert ask(engine, photo, run=run) == EngineStop()
    assert run.asked == 3


def test_more_tokens_than_the_model_has_room_for_end_in_time(engine: Engine, photo: bytes) -> None:
    assert said(ask(engine, photo, {"max_new_tokens": 1024}))


def test_a_prompt_longer_than_the_model_reads_is_refused(engine: Engine, photo: bytes) -> None:
    assert "shorten the prompt" in refusal(ask(engine, photo, {"prompt": "red " * 500}))


def test_refusals_do_not_touch_their_neighbours(engine: Engine, photo: bytes) -> None:
    alone = said(ask(engine, photo))
    batch = [
        EngineInput(id="1", inputs={"image": photo}),
        EngineInput(id="2", inputs={"image": photo[:500]}),
        EngineInput(id="3"),
        EngineInput(id="4", inputs={"image": photo}, parameters={"steps": 3}),
        EngineInput(id="5", inputs={"image": photo}),
    ]
    results = engine.run(batch, Notes())
    assert [type(result) for result in results] == [
        EngineOutput,
        EngineRefusal,
        EngineRefusal,
        EngineRefusal,
        EngineOutput,
    ]
    assert said(results[0]) == said(results[4]) == alone


def test_any_size_and_kind_of_picture_is_taken(engine: Engine) -> None:
    for image in (Image.new("L", (1, 1)), Image.new("RGBA", (700, 3)), Image.new("P", (50, 900))):
        assert said(ask(engine, saved(image), {"max_new_tokens": 2}))


def test_the_models_line_sets_prompt_and_length(tiny: Callable[[str], Path], photo: bytes) -> None:
    line = opened(spec(tiny("git"), prompt="what is", max_new_tokens=2))
    plain = opened(spec(tiny("git")))
    asked = ask(plain, photo, {"prompt": "what is", "max_new_tokens": 2})
    assert said(ask(line, photo)) == said(asked) != said(ask(plain, photo))
    asked = ask(plain, photo, {"prompt": "a star on", "max_new_tokens": 2})
    assert said(ask(line, photo, {"prompt": "a star on"})) == said(asked)


def test_progress_rises_to_the_end() -> None:
    run = Notes()
    watch = Watch("one", run, 4, every_seconds=0)
    for length in (3, 4, 5, 6):  # two tokens were given to the model
        watch(torch.zeros(1, length, dtype=torch.long))
    assert run.told == [0.25, 0.5, 0.75, 1.0]


def test_a_prompt_cannot_stand_in_for_the_picture(
    tiny: Callable[[str], Path], photo: bytes
) -> None:
    vlm = opened(spec(tiny("vlm")))
    assert "<image>" in refusal(ask(vlm, photo, {"prompt": "what is <image> <image>"}))


def test_sixteen_bit_numbers_work_where_they_are_asked_for(
    tiny: Callable[[str], Path], photo: bytes
) -> None:
    assert said(ask(opened(spec(tiny("git"), dtype="bfloat16")), photo))
