"""From a request's body, JSON or form, to a checked submission."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from api.dependencies import Parts, base_of, owner_of
from api.intake.inputs import referred_picture
from api.intake.pictures import Picture, check_picture
from api.intake.time_limits import cancel_at_of, start_by_of
from api.intake.uploads import MAX_TEXT_BYTES, Form, Hold, Upload, read_body, read_form
from api.presenting import version_id_of
from api.problems import Problem
from api.schemas import PredictionRequest
from api.submit import Submission
from api.webhooks.asking import webhook_events, webhook_url
from common.catalogue import ModelSpec
from common.errors import BadInput, UnknownModel
from common.job import JsonObject, Priority
from common.parameters import check_parameters, needs_image
from common.text import shortened

MAX_METADATA = 16 * 1024  # bytes of JSON
MAX_DEPTH = 32  # of metadata; readers of JSON have limits of their own
MAX_LABELS = 20
MAX_LABEL = 100  # characters
_MAX_NAME = 200  # characters of a model's name that are looked at
_MAX_SHOWN = 200  # characters of what a parser says

Kind = TypeVar("Kind")


@dataclass(slots=True)
class Asked:
    """A request's body, before anything in it was checked."""

    body: PredictionRequest
    upload: Upload | None = None


async def read_submission(
    request: Request, parts: Parts, hold: Hold, *, model: str | None = None
) -> Submission:
    """What the request asks for; `model` is the path's. Raises Problem, BadInput, UnknownModel."""
    asked = await _read(request, parts, hold)
    if model is not None:
        asked.body.model, asked.body.version = model, None
    return await check(request, parts, hold, asked)


async def check(request: Request, parts: Parts, hold: Hold, asked: Asked) -> Submission:
    """The submission that was asked for: cheap checks first, the image's bytes last."""
    body = asked.body
    model = _model(body, parts)
    parts.admission.check_model(model.name)
    priority = _priority(body.priority)
    now = time.time()
    start_by = start_by_of(body.start_by, now)
    cancel_at = cancel_at_of(request.headers.get("cancel-after"), now)
    _check_labels(body.labels)
    check_metadata(body.metadata)
    webhook = None if body.webhook is None else webhook_url(body.webhook, parts.webhook_guard)
    events = webhook_events(body.webhook_events_filter or ())
    owner = owner_of(request)
    parameters = dict(body.input)
    reference = parameters.pop("image", None)
    _check_flat(parameters)
    checked = check_parameters(model.task, parameters)
    picture: Picture | str | None = None
    if asked.upload is not None:
        upload = asked.upload
        picture = check_picture(upload.content, parts.limits, sha256=upload.sha256)
    elif reference is not None:
        picture = await referred_picture(
            reference, parts=parts, owner=owner, base=base_of(request), hold=hold
        )
    elif needs_image(model.task):
        raise Problem("missing_image", f"{model.name} needs a picture: send it as `image`.")
    return Submission(
        owner=owner,
        model=model,
        priority=priority,
        parameters=checked,
        picture=None if isinstance(picture, str) else picture,
        image_url=picture if isinstance(picture, str) else None,
        start_by=start_by,
        cancel_at=cancel_at,
        labels=tuple(body.labels),
        metadata=body.metadata,
        webhook=webhook,
        webhook_events=events,
        reuse=parts.settings.reuse if body.reuse is None else body.reuse,
    )


def decode(body: bytes | str, kind: type[Kind]) -> Kind:
    """JSON of that shape. Raises Problem that tells malformed JSON from a wrong shape."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        known = getattr(kind, "__struct_fields__", ()) if "unknown field" in str(error) else ()
        advice = f" The fields are {', '.join(known)}." if known else ""
        what = shortened(str(error), _MAX_SHOWN)  # it repeats a field's name of any length
        raise Problem("invalid_request", f"{what}.{advice}") from error
    except RecursionError as error:
        raise Problem("invalid_json", "The JSON is nested too deeply: flatten it.") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        if _has_lone_surrogate(body):
            raise Problem(
                "invalid_text", "A text holds half of a character (a lone surrogate): remove it."
            ) from error
        raise Problem("invalid_json", f"The body is not JSON: {error}.") from error


async def _read(request: Request, parts: Parts, hold: Hold) -> Asked:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _of_form(await read_form(request, hold, parts.limits))
    if kind == "application/json" or kind.endswith("+json"):
        return Asked(decode(await read_body(request, hold, MAX_TEXT_BYTES), PredictionRequest))
    raise Problem(
        "unsupported_media_type",
        "Send application/json, or multipart/form-data with the picture as the file `image`.",
    )


def _of_form(form: Form) -> Asked:
    """A form's plain fields are parameters, but for those that have a meaning of their own."""
    for name in form.files:
        if name != "image":
            raise Problem(
                "unknown_input", f"There is no input {name[:60]!r}: send the picture as `image`."
            )
    fields = dict(form.fields)
    body = PredictionRequest(
        model=fields.pop("model", None),
        version=fields.pop("version", None),
        priority=fields.pop("priority", Priority.NORMAL.value),
        start_by=fields.pop("start_by", None),
        webhook=fields.pop("webhook", None),
    )
    if "input" in fields:
        body.input = decode(fields.pop("input"), dict[str, Any])
    if "metadata" in fields:
        body.metadata = decode(fields.pop("metadata"), dict[str, object])
    if "reuse" in fields:
        body.reuse = decode(fields.pop("reuse"), bool)
    if "labels" in fields:
        body.labels = _labels(fields.pop("labels"))
    if "webhook_events_filter" in fields:
        body.webhook_events_filter = _labels(fields.pop("webhook_events_filter"))
    body.input = {**body.input, **fields}
    if "image" in form.files and "image" in body.input:
        raise Problem("invalid_form", "The image is given twice: as a file and by name. Send one.")
    return Asked(body, form.files.get("image"))


def _labels(field: str) -> list[str]:
    if field.lstrip().startswith("["):
        return decode(field, list[str])
    return [label.strip() for label in field.split(",") if label.strip()]


def _model(body: PredictionRequest, parts: Parts) -> ModelSpec:
    """By `model`, or by `version` in any form that Replicate's clients send."""
    if body.model:
        return _named(body.model, parts)
    if not body.version:
        raise Problem("missing_model", "Say which model: `model` is one of GET /v1/models.")
    if "/" in body.version:
        return _named(body.version, parts)
    found = [
        model
        for model in parts.catalogue
        if body.version in (version_id_of(model), model.version, model.name)
    ]
    if len(found) > 1:
        raise Problem(
            "ambiguous_version",
            f"Several models have the version {body.version!r}: give `model` instead.",
        )
    if not found:
        raise UnknownModel(body.version[:_MAX_NAME], [model.name for model in parts.catalogue])
    return found[0]


def _named(reference: str, parts: Parts) -> ModelSpec:
    """`owner/name`, or `owner/name:version` with the version that the catalogue has."""
    name, _, version = reference[:_MAX_NAME].partition(":")
    model = parts.catalogue[name]
    if version and version not in (model.version, version_id_of(model)):
        raise UnknownModel(
            reference[:_MAX_NAME], [f"{known.name}:{known.version}" for known in parts.catalogue]
        )
    return model


def _priority(word: str) -> Priority:
    try:
        return Priority(word)
    except ValueError:
        raise Problem(
            "unknown_priority", f"There is no priority {word[:60]!r}: say high, normal or low."
        ) from None


def _check_labels(labels: list[str]) -> None:
    if len(labels) > MAX_LABELS or any(not 0 < len(label) <= MAX_LABEL for label in labels):
        raise Problem(
            "invalid_request",
            f"At most {MAX_LABELS} labels are allowed, of 1 to {MAX_LABEL} characters each.",
        )
    _check_text("labels", labels)


def check_metadata(metadata: JsonObject) -> None:
    size = len(msgspec.json.encode(metadata)) if metadata else 0
    if size > MAX_METADATA:
        raise Problem(
            "metadata_too_large",
            f"metadata has {size} bytes of JSON: at most {MAX_METADATA} are allowed.",
        )
    _check_text("metadata", metadata)


def _check_text(name: str, value: object) -> None:
    for text in _texts(name, value):
        if "\0" in text:
            raise Problem("invalid_text", f"{name} holds a NUL character: remove it.")


def _texts(name: str, value: object) -> Iterator[str]:
    """Every key and text of a JSON value. Raises Problem if it is nested too deeply."""
    pending = [(value, 0)]
    while pending:
        member, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise Problem(
                "invalid_request", f"{name} has more than {MAX_DEPTH} levels: flatten it."
            )
        if isinstance(member, str):
            yield member
        elif isinstance(member, dict):
            yield from member
            pending += [(inner, depth + 1) for inner in member.values()]
        elif isinstance(member, list):
            pending += [(inner, depth + 1) for inner in member]


def _check_flat(parameters: dict[str, Any]) -> None:
    for name, value in parameters.items():
        if isinstance(value, dict | list):
            raise BadInput(
                f"{name[:60]} is a list or an object: give a text, a number, true or false.",
                code="invalid_parameter",
            )


def _has_lone_surrogate(body: bytes | str) -> bool:
    """Whether that is all that is wrong: msgspec refuses it as malformed."""
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False
