from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageStat

import consumers.custom_infer
from common.catalogue import ModelSpec, Task
from common.errors import ModelUnavailable, OutOfMemory
from consumers.engines.base import EngineInput, EngineOutput, EngineRefusal
from tests.unit.consumers.engines.conftest import Notes, ask, opened, read, saved

EXAMPLES = Path(consumers.custom_infer.__file__).parent
Write = Callable[[str], ModelSpec]
HEAD = "from PIL import Image\nfrom consumers.custom_infer import CustomModel\n"


def spec(file: Path) -> ModelSpec:
    return ModelSpec(name="me/mine", task=Task.CUSTOM, path=file)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def file(body: str) -> ModelSpec:
        path = tmp_path / "mine.py"
        path.write_text(HEAD + body)
        return spec(path)

    return file


def failure(model: ModelSpec) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        opened(model)
    return str(caught.value)


def test_load_comes_before_infer_which_gets_upright_rgb(write: Write, photo: bytes) -> None:
    model = write(
        "class Mine(CustomModel):\n"
        "    def load(self):\n        self.word = 'loaded'\n"
        "    def infer(self, image):\n        return f'{self.word} {image.mode} {image.size}'\n"
    )
    assert ask(opened(model), photo, {"prompt": "any"}) == EngineOutput(text="loaded RGB (120, 80)")


def test_an_image_comes_back_in_the_format_asked_for(write: Write, photo: bytes) -> None:
    engine = opened(write("class Mine(CustomModel):\n    def infer(self, image): return image\n"))
    for output_format in ("jpeg", "png", "webp"):
        (file,) = ask(engine, photo, {"output_format": output_format}).files
        assert file.content_type == f"image/{output_format}"
        assert read(file.content).size == (120, 80)


def test_an_exception_fails_this_job_alone_with_its_last_line(write: Write, photo: bytes) -> None:
    engine = opened(
        write(
            "class Mine(CustomModel):\n"
            "    def infer(self, image):\n"
            "        if image.width < 10: raise ValueError('too narrow')\n"
            "        return 'fine'\n"
        )
    )
    batch = [
        EngineInput(id="1", inputs={"image": saved(Image.new("RGB", (5, 5)))}),
        EngineInput(id="2", inputs={"image": photo}),
    ]
    narrow, fine = engine.run(batch, Notes())
    assert narrow == EngineRefusal(
        error="The custom model failed: ValueError: too narrow", code="custom_model_error"
    )
    assert fine == EngineOutput(text="fine")


@pytest.mark.parametrize(
    ("body", "reason"),
    [("return 5", "infer gave int"), ("raise SystemExit(3)", "SystemExit: 3")],
)
def test_other_failures_of_infer_are_told(
    write: Write, photo: bytes, body: str, reason: str
) -> None:
    model = write(f"class Mine(CustomModel):\n    def infer(self, image):\n        {body}\n")
    result = ask(opened(model), photo)
    assert isinstance(result, EngineRefusal)
    assert result.code == "custom_model_error"
    assert reason in result.error


def test_lack_of_memory_is_no_fault_of_the_job(write: Write, photo: bytes) -> None:
    engine = opened(
        write("class Mine(CustomModel):\n    def infer(self, image): raise MemoryError\n")
    )
    with pytest.raises(OutOfMemory):
        ask(engine, photo)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("x = (", "SyntaxError"),
        ("import no_such_library", "No module named 'no_such_library'"),
        ("import sys; sys.exit(1)", "SystemExit"),
        ("", "it holds none"),
        ("class Mine(CustomModel): pass", "it holds none"),
        (
            "class A(CustomModel):\n    def infer(self, image): ...\n"
            "class B(CustomModel):\n    def infer(self, image): ...\n",
            "it holds A, B",
        ),
        (
            "class Mine(CustomModel):\n    def load(self): raise OSError('no weights')\n"
            "    def infer(self, image): ...\n",
            "OSError: no weights",
        ),
    ],
)
def test_a_file_that_does_not_load_says_why(write: Write, body: str, reason: str) -> None:
    assert reason in failure(write(body))


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    assert "No such file" in failure(spec(tmp_path / "gone.py"))
    assert "not a Python file" in failure(spec(tmp_path))


def test_a_missing_picture_is_refused(photo: bytes) -> None:
    result = ask(opened(spec(EXAMPLES / "palette.py")), None)
    assert isinstance(result, EngineRefusal)
    assert result.code == "missing_image"


def test_the_palette_names_the_colours_by_their_share(scene: Image.Image, photo: bytes) -> None:
    engine = opened(spec(EXAMPLES / "palette.py"))
    assert ask(engine, photo).text == "mostly navy, with some orange and white"
    assert ask(engine, saved(Image.new("RGB", (9, 700), (230, 30, 30)))).text == "all red"
    flag = Image.new("RGB", (90, 60), "white")
    flag.paste((35, 85, 220), (0, 0, 40, 60))
    flag.paste((225, 30, 30), (60, 0, 90, 60))
    assert ask(engine, saved(flag)).text == "blue, red and white"


def test_the_pencil_sketch_is_white_paper_with_grey_strokes(photo: bytes) -> None:
    engine = opened(spec(EXAMPLES / "pencil_sketch.py"))
    (file,) = ask(engine, photo, {"output_format": "png"}).files
    sketch = read(file.content).convert("RGB")
    assert sketch.size == (120, 80)
    assert sketch.getpixel((5, 5)) == pytest.approx((255, 255, 255), abs=12)
    assert min(sketch.getpixel((x, 25))[0] for x in range(65, 80)) < 130  # type: ignore[index]
    assert ImageStat.Stat(sketch).mean[0] > 200


def test_the_smallest_picture_is_sketched(photo: bytes) -> None:
    engine = opened(spec(EXAMPLES / "pencil_sketch.py"))
    (file,) = ask(engine, saved(Image.new("L", (1, 1)))).files
    assert read(file.content).size == (1, 1)


def test_a_custom_model_needs_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from common.catalogue import ModelSpec, Task\n"
        "from consumers.engines import open_engine\n"
        "light = not {'torch', 'PIL'} & set(sys.modules)\n"
        f"file = Path({str(EXAMPLES / 'palette.py')!r})\n"
        "model = ModelSpec(name='a/b', task=Task.CUSTOM, path=file)\n"
        "open_engine(model, max_pixels=100).load()\n"
        "print(light, 'torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["True", "False"]
