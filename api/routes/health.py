"""Whether the process lives, whether it can accept jobs, and what it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api.access import authentication
from api.access.authentication import Needs
from api.access.keys import Scope
from api.dependencies import Parts, parts_of
from api.documentation import described
from api.problems import Problem
from api.replies import json_reply
from api.schemas import DependencyState, Liveness, Readiness
from common import topic
from common.errors import Unavailable
from common.object_store import ObjectStore

router = APIRouter(tags=["Health"])

_CHECK_SECONDS = 3.0
_READY = {
    "status": "ready",
    "dependencies": {
        "log": {"ok": True, "error": None},
        "store": {"ok": True, "error": None},
        "database": {"ok": True, "error": None},
    },
}


@router.get("/livez", **described(reply="Liveness", example={"status": "alive"}))
async def livez() -> Response:
    """The process answers."""
    return json_reply(Liveness(status="alive"))


@router.get("/readyz", **described("not_ready", reply="Readiness", example=_READY))
async def readyz(request: Request) -> Response:
    """Jobs can be accepted: every dependency answers."""
    states = await _check(parts_of(request))
    missing = [name for name, state in states.items() if not state.ok]
    if missing:
        raise Problem(
            "not_ready",
            f"No answer from: {', '.join(missing)}. See `dependencies`.",
            members={"dependencies": states},
        )
    body = Readiness(status="ready", dependencies=states)
    return json_reply(body)


@router.get(
    "/metrics",
    dependencies=[Depends(Needs(Scope.MONITOR))],
    **described(
        *authentication.ERRORS,
        media_type="text/plain",
        example='http_requests_total{method="GET",route="/livez",status="200"} 1.0\n',
        description="In Prometheus' text format",
    ),
)
async def metrics(request: Request) -> Response:
    """What this process counts."""
    return Response(
        parts_of(request).metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )


async def _check(parts: Parts) -> dict[str, DependencyState]:
    checks = {
        "log": parts.log.bounds({topic.UPDATES: None}),
        "store": _reach(parts.store),
        "database": parts.database.check(),
    }
    states = await asyncio.gather(*(_state(check) for check in checks.values()))
    return dict(zip(checks, states, strict=True))


async def _reach(store: ObjectStore) -> None:
    """Ask for the objects under a name that none has."""
    async for _ in store.list("readyz/"):
        break


async def _state(check: Awaitable[object]) -> DependencyState:
    try:
        await asyncio.wait_for(check, _CHECK_SECONDS)
    except Unavailable as error:
        return DependencyState(ok=False, error=str(error))
    except TimeoutError:
        return DependencyState(ok=False, error=f"no answer within {_CHECK_SECONDS:g} s")
    return DependencyState(ok=True, error=None)
