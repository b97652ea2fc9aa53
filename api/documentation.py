"""What /docs says of each operation: an example of its reply, and every error it may answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from api import scaling_schemas
from api.links import add_links
from api.problems import CODES, Problem, document
from api.schemas import components
from api.webhooks import schemas as webhook_schemas

_ASSETS = "/docs/assets"

# What any operation that reads or writes may answer.
ALWAYS = ("internal_error",)
LEDGER = ("ledger_unavailable",)


def described(
    *errors: str,
    status: int = 200,
    reply: str | None = None,
    example: object = None,
    media_type: str = "application/json",
    description: str = "Done",
    body: Mapping[str, Any] | None = None,
    body_required: bool = True,
    headers: Mapping[str, tuple[str, str]] | None = None,
    more: Mapping[int | str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Arguments of a route: `reply` names a component, `errors` are codes of problems.

    `headers` holds for each that the request may carry what it means, and a sample.
    """
    success: dict[str, Any] = {"description": description}
    if media_type:
        content: dict[str, Any] = {"example": example}
        if reply is not None:
            content["schema"] = reference(reply)
        success["content"] = {media_type: content}
    arguments: dict[str, Any] = {
        "status_code": status,
        "response_class": Response,
        "responses": {status: success, **(more or {}), **problem_responses(*errors, *ALWAYS)},
    }
    extra: dict[str, Any] = {}
    if body is not None:
        extra["requestBody"] = {"required": body_required, "content": dict(body)}
    if headers is not None:
        extra["parameters"] = [
            _header(name, meaning, sample) for name, (meaning, sample) in headers.items()
        ]
    return {**arguments, "openapi_extra": extra} if extra else arguments


def _header(name: str, meaning: str, sample: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        # No `example`: /docs would send it along with whatever is tried there.
        "description": f"{meaning} Such as `{sample}`.",
        "schema": {"type": "string"},
    }


def reference(component: str) -> dict[str, str]:
    """A pointer to one of api/schemas.py."""
    return {"$ref": f"#/components/schemas/{component}"}


def problem_responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """What a route may answer with these codes, by status."""
    by_status: dict[int, dict[str, Any]] = defaultdict(dict)
    for code in codes:
        problem = Problem(code, CODES[code][1])
        by_status[problem.status][code] = {"value": document(problem, "9f2c1d7a4be05836")}
    return {
        status: {
            "description": ", ".join(examples),
            "content": {
                "application/problem+json": {
                    "schema": reference("ProblemDocument"),
                    "examples": examples,
                }
            },
        }
        for status, examples in sorted(by_status.items())
    }


def add_documentation(app: FastAPI) -> None:
    """Serve Swagger with assets of our own, so that it works without a network."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            schema = generated()
            _drop_default_errors(schema)
            schema["components"]["schemas"] = components(webhook_schemas, scaling_schemas)
            add_links(schema)
        return generated()

    async def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "").rstrip("/")
        return get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=app.title,
            swagger_js_url=f"{root}{_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{root}{_ASSETS}/favicon-32x32.png",
        )

    async def front(request: Request) -> RedirectResponse:
        return RedirectResponse(request.scope.get("root_path", "").rstrip("/") + "/docs")

    app.openapi = openapi  # type: ignore[method-assign]
    app.mount(_ASSETS, StaticFiles(packages=[("fastapi_swagger", "resources")]))
    app.add_route("/docs", docs, include_in_schema=False)
    app.add_route("/", front, include_in_schema=False)


def _drop_default_errors(schema: dict[str, Any]) -> None:
    """FastAPI adds its own 422 wherever a path has a parameter; ours are texts and cannot fail."""
    for methods in schema["paths"].values():
        for operation in methods.values():
            content = operation["responses"].get("422", {}).get("content", {})
            if "application/json" in content:
                del operation["responses"]["422"]
