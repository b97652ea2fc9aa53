"""Users' own models: the class of CustomModel in a Python file."""

from __future__ import annotations

import importlib.util
import inspect
import traceback
from pathlib import Path
from types import ModuleType

from PIL.Image import Image

from common.catalogue import ModelSpec, Task
from common.errors import BadInput, ModelUnavailable, OutOfMemory
from common.parameters import CustomParameters, read_parameters
from consumers.custom_infer import CustomModel
from consumers.engines.base import EngineInput, EngineOutput, Run
from consumers.engines.images import encode
from consumers.engines.one_by_one import OneByOneEngine, picture_of


class CustomEngine(OneByOneEngine):
    """Holds one CustomModel. What it raises fails the job at hand and no other."""

    def __init__(self, model: ModelSpec, *, max_pixels: int) -> None:
        self._model, self._max_pixels = model, max_pixels
        self._custom: CustomModel | None = None

    def load(self) -> None:
        if self._model.path is None:
            raise ModelUnavailable(f"{self._model.name} is custom: give it path=FILE.py.")
        file = self._model.path
        try:
            custom = _class_of(_import(file))()
            custom.load()
        except ModelUnavailable:
            raise
        except (Exception, SystemExit) as error:
            raise ModelUnavailable(f"{file} does not load: {_last_line(error)}") from error
        self._custom = custom

    def run_one(self, item: EngineInput, run: Run) -> EngineOutput:  # noqa: ARG002  infer takes no questions
        assert self._custom is not None, "load comes first"
        wanted = read_parameters(self._model, Task.CUSTOM, CustomParameters, item.parameters)
        picture = picture_of(item, self._max_pixels)
        try:
            return _output(self._custom.infer(picture), wanted.output_format)
        except (Exception, SystemExit) as error:
            if _is_out_of_memory(error):
                raise OutOfMemory(_last_line(error)) from error
            raise BadInput(
                f"The custom model failed: {_last_line(error)}", code="custom_model_error"
            ) from error

    def close(self) -> None:
        self._custom = None


def _import(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"custom_model_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ModelUnavailable(f"{file} is not a Python file: give path=FILE.py.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _class_of(module: ModuleType) -> type[CustomModel]:
    """The one class of CustomModel that the module itself defines."""
    classes = [
        kind
        for kind in vars(module).values()
        if inspect.isclass(kind)
        and issubclass(kind, CustomModel)
        and kind.__module__ == module.__name__
        and not inspect.isabstract(kind)
    ]
    if len(classes) != 1:
        names = ", ".join(kind.__name__ for kind in classes) or "none"
        raise ModelUnavailable(
            f"{module.__file__} must hold one class of CustomModel with a method infer; "
            f"it holds {names}."
        )
    return classes[0]


def _output(made: object, output_format: str) -> EngineOutput:
    if isinstance(made, str):
        return EngineOutput(text=made)
    if isinstance(made, Image):
        return EngineOutput(files=(encode(made, output_format),))
    raise TypeError(f"infer gave {type(made).__name__}: return a text (str) or a PIL image")


def _is_out_of_memory(error: BaseException) -> bool:
    """By name, for torch is here only if the user's file imported it."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _last_line(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip()
