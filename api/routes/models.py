"""Models: the catalogue, and how each of its models is now."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.dependencies import Parts, base_of, parts_of
from api.documentation import described
from api.presenting import iso_time, version_id_of
from api.problems import Problem
from api.replies import json_reply
from api.routes import examples
from api.schemas import Model, ModelPage, ModelVersion, VersionPage, WorkerView
from common.catalogue import ModelSpec
from common.job import JsonObject
from common.parameters import needs_image, parameters_schema

router = APIRouter(tags=["Models"])

_LONGEST_QUERY = 1000  # bytes
_COG_VERSION = "0.9.0"  # Replicate's clients read a schema's newer form from 0.3.9 on


@router.get("/v1/models", **described(reply="ModelPage", example=examples.MODELS))
async def list_models(request: Request) -> Response:
    """All models of the catalogue. `QUERY` in place of `GET`, with words as the body, searches."""
    parts = parts_of(request)
    models = [_present(model, parts, base_of(request)) for model in parts.catalogue]
    body = ModelPage(object="list", data=models, next=None, previous=None, results=models)
    return json_reply(body)


@router.api_route("/v1/models", methods=["QUERY"], include_in_schema=False)
async def search_models(request: Request) -> Response:
    """Those whose name or task holds the words of the body: Replicate's clients search so."""
    parts = parts_of(request)
    text = bytearray()
    async for chunk in request.stream():
        text += chunk
        if len(text) > _LONGEST_QUERY:
            raise Problem("body_too_large", f"A query has at most {_LONGEST_QUERY} bytes.")
    words = text.decode(errors="replace").lower().split()
    models = [_present(model, parts, base_of(request)) for model in parts.catalogue]
    found = [
        model
        for model in models
        if all(word in f"{model.id} {model.description}".lower() for word in words)
    ]
    return json_reply(ModelPage(object="list", data=found, next=None, previous=None, results=found))


@router.get(
    "/v1/models/{owner}/{name}",
    **described("unknown_model", reply="Model", example=examples.MODEL),
)
async def get_model(request: Request, owner: str, name: str) -> Response:
    """One model."""
    parts = parts_of(request)
    return json_reply(_present(parts.catalogue[f"{owner}/{name}"], parts, base_of(request)))


@router.get(
    "/v1/models/{owner}/{name}/versions",
    **described("unknown_model", reply="VersionPage", example=examples.VERSIONS),
)
async def list_versions(request: Request, owner: str, name: str) -> Response:
    """The versions of a model: the one that the catalogue names."""
    parts = parts_of(request)
    version = _version(parts.catalogue[f"{owner}/{name}"], parts)
    return json_reply(VersionPage(next=None, previous=None, results=[version]))


@router.get(
    "/v1/models/{owner}/{name}/versions/{version_id}",
    **described("unknown_model", reply="ModelVersion", example=examples.VERSION),
)
async def get_version(request: Request, owner: str, name: str, version_id: str) -> Response:
    """One version of a model."""
    parts = parts_of(request)
    model = parts.catalogue[f"{owner}/{name}"]
    version = _version(model, parts)
    if version_id not in (version.id, model.version):
        raise Problem("unknown_model", f"{model.name} has one version alone: {version.id}.")
    return json_reply(version)


def _present(model: ModelSpec, parts: Parts, base: str) -> Model:
    owner, _, name = model.name.rpartition("/")
    seen = parts.workers.model(model.name)
    return Model(
        id=model.name,
        object="model",
        created=int(parts.started_at),
        owned_by=owner,
        url=f"{base}/v1/models/{model.name}",
        owner=owner,
        name=name,
        description=model.task.value.replace("_", " ") if model.task else "not downloaded yet",
        visibility="public",
        run_count=0,
        task=model.task.value if model.task else None,
        makes=model.result,
        state=seen.state.value,
        reason=seen.reason,
        workers=[
            WorkerView(
                id=worker.worker,
                state=worker.state.value,
                device=worker.device,
                running=len(worker.running),
            )
            for worker in seen.workers
        ],
        latest_version=_version(model, parts),
    )


def _version(model: ModelSpec, parts: Parts) -> ModelVersion:
    return ModelVersion(
        id=version_id_of(model),
        created_at=iso_time(parts.started_at),
        cog_version=_COG_VERSION,
        openapi_schema=_openapi(model),
    )


def _openapi(model: ModelSpec) -> JsonObject:
    """What Replicate's clients read: the schemas of the input and the output."""
    image = {"type": "string", "format": "uri", "description": "The picture."}
    parameters = parameters_schema(model.task)
    takes = {**parameters, "title": "Input", "properties": {"image": image}}
    takes["properties"].update(parameters["properties"])
    takes["required"] = ["image"] if needs_image(model.task) else []
    gives: JsonObject = {"type": "string", "title": "Output"}
    if model.makes_images:
        gives["format"] = "uri"
    return {
        "openapi": "3.0.2",
        "info": {"title": model.name, "version": model.version},
        "paths": {},
        "components": {"schemas": {"Input": takes, "Output": gives}},
    }
