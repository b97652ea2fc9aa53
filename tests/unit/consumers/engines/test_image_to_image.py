from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from common.catalogue import ModelSpec, Task
from common.job import Parameter
from consumers.engines.base import Engine, EngineInput, EngineOutput, EngineRefusal, EngineStop
from tests.unit.consumers.engines.conftest import Notes, ask, opened, read, saved

QUICK: dict[str, Parameter] = {"steps": 4, "strength": 0.5, "seed": 7, "output_format": "png"}


@pytest.fixture(scope="module")
def engine(tiny: Callable[[str], Path]) -> Engine:
    return opened(
        ModelSpec(name="me/tiny", task=Task.IMAGE_TO_IMAGE, path=tiny("diffusion"), guidance=2.0)
    )


def picture(result: object) -> Image.Image:
    assert isinstance(result, EngineOutput)
    (file,) = result.files
    return read(file.content)


def refusal(result: object) -> str:
    assert isinstance(result, EngineRefusal)
    assert result.code == "invalid_parameter"
    return result.error


@pytest.mark.parametrize("size", [(120, 80), (1, 1), (67, 131), (1500, 40)])
def test_the_result_has_the_size_of_the_input(engine: Engine, size: tuple[int, int]) -> None:
    made = picture(ask(engine, saved(Image.new("RGB", size, "teal")), QUICK))
    assert (made.size, made.mode) == (size, "RGB")


@pytest.mark.parametrize("output_format", ["jpeg", "png", "webp"])
def test_the_format_is_as_asked(engine: Engine, photo: bytes, output_format: str) -> None:
    made = picture(ask(engine, photo, {**QUICK, "output_format": output_format}))
    assert (made.format or "").lower() == output_format


def test_a_seed_repeats_a_picture_and_none_does_not(engine: Engine, photo: bytes) -> None:
    first = picture(ask(engine, photo, QUICK))
    assert first.tobytes() == picture(ask(engine, photo, QUICK)).tobytes()
    free = {name: value for name, value in QUICK.items() if name != "seed"}
    assert first.tobytes() != picture(ask(engine, photo, free)).tobytes()


def test_prompt_strength_and_guidance_change_the_picture(engine: Engine, photo: bytes) -> None:
    changes: list[dict[str, Parameter]] = [
        {"prompt": "red"},
        {"prompt": "red", "negative_prompt": "blue"},
        {"prompt": "red", "guidance": 9.0},
        {"prompt": "red", "strength": 1.0},
    ]
    made = {picture(ask(engine, photo, {**QUICK, **change})).tobytes() for change in changes}
    assert len(made) == len(changes)


def test_a_weak_change_stays_near_the_input_of_the_model(engine: Engine, photo: bytes) -> None:
    weak, strong = (
        picture(ask(engine, photo, {**QUICK, "steps": 10, "strength": strength}))
        for strength in (0.1, 0.2)
    )
    assert ImageChops.difference(weak, strong).getbbox() is not None


def test_progress_is_told_step_by_step(engine: Engine, photo: bytes) -> None:
    run = Notes()
    ask(engine, photo, {**QUICK, "steps": 8}, run)
    assert run.told == [0.25, 0.5, 0.75, 1.0]


def test_a_cancellation_stops_between_steps(engine: Engine, photo: bytes) -> None:
    run = Notes(cancel_at=3)
    assert ask(engine, photo, {**QUICK, "steps": 100, "strength": 1.0}, run) == EngineStop()
    assert len(run.told) == 1
    assert picture(ask(engine, photo, QUICK)).size == (120, 80)


def test_no_step_to_run_is_refused_with_the_way_out(engine: Engine, photo: bytes) -> None:
    assert "product is at least 1" in refusal(ask(engine, photo, {"steps": 4, "strength": 0.2}))
    assert "product is at least 1" in refusal(ask(engine, photo, {"strength": 0.0}))


def test_what_a_pipeline_does_not_have_is_refused_not_ignored(
    tiny: Callable[[str], Path], photo: bytes, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny("diffusion"), tmp_path / "model"))
    index = folder / "model_index.json"
    changed = {
        **json.loads(index.read_text()),
        "_class_name": "LatentConsistencyModelImg2ImgPipeline",
        "scheduler": ["diffusers", "LCMScheduler"],
    }
    index.write_text(json.dumps(changed))
    engine = opened(ModelSpec(name="me/lcm", task=Task.IMAGE_TO_IMAGE, path=folder))
    said = refusal(ask(engine, photo, {**QUICK, "negative_prompt": "blue"}))
    assert said == "me/lcm has no negative_prompt: leave it out."


def test_refusals_do_not_touch_their_neighbours(engine: Engine, photo: bytes) -> None:
    batch = [
        EngineInput(id="1", inputs={"image": photo}, parameters=QUICK),
        EngineInput(id="2", inputs={"image": b"no picture"}, parameters=QUICK),
        EngineInput(id="3", inputs={"image": photo}, parameters={**QUICK, "num_beams": 2}),
        EngineInput(id="4", inputs={"image": photo}, parameters=QUICK),
    ]
    first, bad, wrong, last = engine.run(batch, Notes())
    assert picture(first).tobytes() == picture(last).tobytes()
    assert isinstance(bad, EngineRefusal)
    assert "num_beams" in refusal(wrong)
