"""What a request may say beside the image: each task's parameters, their ranges and defaults.

Checked at the API's door and read by the engines, so nothing heavy is imported here. What a
request leaves out is taken from the model's line in model_names.txt, and then from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, inspect
from msgspec.structs import FieldInfo

from common.catalogue import MOST_GUIDANCE, MOST_NEW_TOKENS, MOST_STEPS, ModelSpec, Task
from common.errors import BadInput
from common.job import Parameter

LONGEST_TEXT = 32 * 1024  # bytes of UTF-8
LARGEST_SEED = 2**63 - 1
MAX_SIDE = 16_383  # px; what each output format can hold, and far above a camera
_SHOWN = 60  # characters of a wrong value that its error repeats

Prompt = Annotated[str, Meta(description="What to do, or how the text begins. At most 32 kB.")]
Seed = Annotated[int, Meta(ge=0, le=LARGEST_SEED, description="The same seed, the same result.")]
OutputFormat = Annotated[
    Literal["jpeg", "png", "webp"],
    Meta(description="The image's format; png loses nothing and is slower to write."),
]


class EchoParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Of the engine that gives back what it gets."""

    prompt: Prompt = ""
    delay: Annotated[float, Meta(ge=0, le=60, description="Seconds to work before answering.")] = (
        0.0
    )


class ImageToTextParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Of captioners and chat models that see."""

    prompt: Prompt = ""
    max_new_tokens: Annotated[
        int, Meta(ge=1, le=MOST_NEW_TOKENS, description="Longest text, in tokens.")
    ] = 64
    temperature: Annotated[
        float, Meta(ge=0, le=2, description="0 takes the likeliest token; above it, samples.")
    ] = 0.0
    top_p: Annotated[
        float, Meta(gt=0, le=1, description="When sampling: the likeliest tokens of this share.")
    ] = 1.0
    num_beams: Annotated[int, Meta(ge=1, le=16, description="Texts searched side by side.")] = 1
    seed: Seed | None = None


class ImageToImageParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Of diffusion models that change an image."""

    prompt: Prompt = ""
    negative_prompt: Annotated[str, Meta(description="What to keep away. At most 32 kB.")] = ""
    strength: Annotated[
        float, Meta(ge=0, le=1, description="How far from the image: 1 keeps nothing of it.")
    ] = 0.6
    steps: Annotated[
        int,
        Meta(ge=1, le=MOST_STEPS, description="Of the whole schedule; steps x strength are run."),
    ] = 30
    guidance: Annotated[
        float, Meta(ge=0, le=MOST_GUIDANCE, description="How strictly the prompt is followed.")
    ] = 7.5
    seed: Seed | None = None
    output_format: OutputFormat = "jpeg"


class CustomParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Of users' own models. They see the image alone; the prompt is kept with the job."""

    prompt: Prompt = ""
    output_format: OutputFormat = "jpeg"


Kind = TypeVar("Kind", bound=msgspec.Struct)

_KINDS: dict[Task, type[msgspec.Struct]] = {
    Task.ECHO: EchoParameters,
    Task.IMAGE_TO_TEXT: ImageToTextParameters,
    Task.IMAGE_TO_IMAGE: ImageToImageParameters,
    Task.CUSTOM: CustomParameters,
}
_MAY_BE = (Task.IMAGE_TO_TEXT, Task.IMAGE_TO_IMAGE)  # what a model that is not here yet may be
_OPTIONS = ("prompt", "max_new_tokens", "steps", "strength", "guidance")  # of a model's line


def needs_image(task: Task | None) -> bool:
    """Whether a request without an input image makes no sense."""
    return task is not Task.ECHO


def check_parameters(task: Task | None, raw: Mapping[str, object]) -> dict[str, Parameter]:
    """What the request said, with its types set right ("0.5" becomes 0.5); None is left out.

    Raises BadInput `invalid_parameter`, which names the parameter, its value and what is allowed.
    A model whose task is not known yet may be given what any of its possible tasks takes.
    """
    fields = _fields(task)
    checked: dict[str, Parameter] = {}
    for name, value in raw.items():
        if name not in fields:
            kind = f"{task.value} models" if task else "a model that is not here yet"
            raise _refusal(
                f"There is no parameter {name[:_SHOWN]!r} for {kind}. "
                f"Known parameters: {', '.join(fields)}."
            )
        if value is not None:
            checked[name] = _checked(name, value, _type_of(fields[name]))
    return checked


def read_parameters(
    model: ModelSpec, task: Task, kind: type[Kind], given: Mapping[str, Parameter]
) -> Kind:
    """All that a run needs: the request's values, then those of the model's line, then defaults.

    Raises BadInput `invalid_parameter`, as `check_parameters` does.
    """
    known = _fields(task)
    options = {name: getattr(model, name) for name in _OPTIONS if name in known}
    return kind(**check_parameters(task, options) | check_parameters(task, given))


def repeatable_parameters(
    model: ModelSpec, given: Mapping[str, Parameter]
) -> msgspec.Struct | None:
    """All that the result depends on beside the image; None where the same may give another.

    Captions are the same again unless they are sampled, images only with a seed of the user's; of
    custom models, and of one whose task is not known yet, nothing is known.
    """
    if model.task is None or model.task is Task.CUSTOM:
        return None
    known = read_parameters(model, model.task, _KINDS[model.task], given)
    sampled = isinstance(known, ImageToTextParameters) and known.temperature > 0
    unseeded = isinstance(known, ImageToImageParameters) and known.seed is None
    return None if sampled or unseeded else known


def parameters_schema(task: Task | None) -> dict[str, Any]:
    """A JSON schema of the parameters alone; the input image is not one of them."""
    properties: dict[str, Any] = {}
    for name, field in _fields(task).items():
        properties[name] = msgspec.json.schema(_type_of(field))
        if field.default is not None:
            properties[name]["default"] = field.default
    return {"type": "object", "properties": properties, "additionalProperties": False}


@cache
def _fields(task: Task | None) -> dict[str, FieldInfo]:
    kinds = [_KINDS[task]] if task else [_KINDS[possible] for possible in _MAY_BE]
    return {field.name: field for kind in kinds for field in msgspec.structs.fields(kind)}


def _type_of(field: FieldInfo) -> Any:
    """The type of a value that was given: without the None that stands for "not given"."""
    return Seed if field.type == Seed | None else field.type


def _checked(name: str, value: object, kind: Any) -> Parameter:
    if isinstance(value, str):
        _check_text(name, value)
    try:
        good: Parameter = msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        raise _refusal(f"{name}={_shown(value)} is not allowed: give {_allowed(kind)}.") from None
    return good


def _check_text(name: str, text: str) -> None:
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise _refusal(f"{name} holds half of a character (a lone surrogate): remove it.") from None
    if size > LONGEST_TEXT:
        raise _refusal(f"{name} has {size} bytes: at most {LONGEST_TEXT} are allowed.")
    if "\0" in text:
        raise _refusal(f"{name} holds a NUL character: remove it.")


def _allowed(kind: Any) -> str:
    """In words: what values the type takes."""
    allowed = inspect.type_info(kind)
    if isinstance(allowed, inspect.Metadata):
        allowed = allowed.type
    if isinstance(allowed, inspect.LiteralType):
        return "one of " + ", ".join(str(value) for value in allowed.values)
    if isinstance(allowed, inspect.IntType):
        return f"a whole number from {allowed.ge} to {allowed.le}"
    if isinstance(allowed, inspect.FloatType):
        above = f"above {allowed.gt}" if allowed.ge is None else f"from {allowed.ge}"
        return f"a number {above} to {allowed.le}"
    return "a text"


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"


def _refusal(message: str) -> BadInput:
    return BadInput(message, code="invalid_parameter")
