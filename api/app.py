"""The HTTP application: its parts, its routes, and which error is answered with which status."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

from api.access import authentication
from api.access.admission import Admission
from api.access.authentication import Needs
from api.access.backlog import Backlog
from api.access.keyring import Keyring
from api.access.keys import Scope
from api.cancel import Canceler
from api.database.accepting import Accepting
from api.database.database import Database
from api.dependencies import Parts
from api.documentation import add_documentation, problem_responses
from api.intake.pictures import PictureLimits
from api.intake.uploads import UploadBudget
from api.live.activity import Activity
from api.live.queues import Queues
from api.live.waiting import Waiters
from api.live.watching import Watching
from api.live.workers_seen import WorkersSeen
from api.metrics import Metrics
from api.observing import REQUEST_ID, Observing
from api.problems import Problem, problem_response
from api.routes import (
    activity,
    dead_letters,
    describer,
    diffusion,
    events,
    files,
    health,
    models,
    predictions,
    repeats,
    replays,
    results,
    scaling,
    webhook_deliveries,
    webhooks,
)
from api.submit import Submitter
from api.upkeep.removal import Remover
from api.webhooks.asking import webhook_guard
from common.catalogue import Catalogue
from common.errors import (
    BadInput,
    DarkroomError,
    LedgerUnavailable,
    LogUnavailable,
    ObjectMissing,
    StoreUnavailable,
    UnknownModel,
    UrlRefused,
)
from common.events import JobUpdate
from common.job_log import JobLog
from common.object_store import ObjectStore
from common.settings import Settings
from common.url_guard import UrlGuard

# A key of the scope user
ROUTERS = (
    predictions,
    repeats,
    events,
    dead_letters,
    webhook_deliveries,  # before webhooks: its paths look like a webhook's
    webhooks,
    replays,
    files,
    models,
    activity,
    diffusion,
    describer,
)
ADMIN_ROUTERS = (scaling,)
OPEN_ROUTERS = (results, health)  # each route says itself what it asks for

# What our errors become; api/problems.py has the status of each code.
ERRORS: dict[type[DarkroomError], str] = {
    UnknownModel: "unknown_model",
    UrlRefused: "url_refused",
    ObjectMissing: "removed",
    LogUnavailable: "log_unavailable",
    StoreUnavailable: "store_unavailable",
    LedgerUnavailable: "ledger_unavailable",
}

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT", "QUERY")
_CLIENT_GONE = 499  # nobody reads it; the metrics show it
_log = structlog.get_logger()


def create_app(
    *,
    settings: Settings,
    catalogue: Catalogue,
    log: JobLog,
    store: ObjectStore,
    database: Database,
) -> FastAPI:
    """The application. Its lifespan starts and stops what follows the log.

    Log, store and database are opened and closed by the caller. Raises SettingsInvalid.
    """
    metrics = Metrics()
    url_guard = UrlGuard(settings.url_allowlist)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        accepting = Accepting(database)
        workers, backlog = WorkersSeen(log), Backlog(database)
        queues, activity = Queues(log, workers, metrics), Activity()

        def told(update: JobUpdate) -> None:
            queues.take(update)
            backlog.take(update)
            activity.take(update)

        watching = Watching(log, database, told=told)
        parts = Parts(
            settings=settings,
            catalogue=catalogue,
            log=log,
            store=store,
            database=database,
            submitter=Submitter(
                log=log,
                store=store,
                database=database,
                accepting=accepting,
                placed=queues.place,
                backlog=backlog,
                burst=settings.key_burst_jobs if settings.auth_on else 0,
            ),
            remover=Remover(store=store, database=database),
            canceler=Canceler(log=log, database=database),
            watching=watching,
            waiters=Waiters(watching),
            workers=workers,
            queues=queues,
            activity=activity,
            uploads=UploadBudget(settings.max_upload_bytes_in_flight),
            limits=PictureLimits.of(settings),
            url_guard=url_guard,
            metrics=metrics,
            backlog=backlog,
            admission=Admission(settings, backlog, queues.drain_seconds),
            keyring=Keyring(database) if settings.auth_on else None,
            webhook_guard=webhook_guard(settings),
            started_at=time.time(),
        )
        async with _running(parts):
            app.state.parts = parts
            app.state.leave = parts.watching.leave
            yield
        await accepting.close()

    app = FastAPI(
        title="Darkroom",
        summary="A self-hosted, asynchronous pipeline for image models.",
        version="0.1.0",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Its spans would hold paths, and so the tokens of access links (ours: common/tracing.py).
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        lifespan=lifespan,
    )
    app.add_middleware(Observing, metrics=metrics)
    for modules, scope in ((ROUTERS, Scope.USER), (ADMIN_ROUTERS, Scope.ADMIN)):
        for module in modules:
            app.include_router(
                module.router,
                dependencies=[Depends(Needs(scope))],
                responses=problem_responses(*authentication.ERRORS),
            )
    for module in OPEN_ROUTERS:
        app.include_router(module.router)
    add_documentation(app)
    _add_error_handlers(app)
    return app


@asynccontextmanager
async def _running(parts: Parts) -> AsyncIterator[None]:
    parts.watching.start()
    parts.workers.start()
    await parts.backlog.start()
    if parts.keyring is not None:
        parts.keyring.start()
    yield
    if parts.keyring is not None:
        await parts.keyring.close()
    await parts.watching.close()
    await parts.backlog.close()
    await parts.admission.close()
    await parts.workers.close()
    await parts.queues.close()
    await parts.submitter.close()
    await parts.canceler.close()


def _add_error_handlers(app: FastAPI) -> None:
    for kind, handler in (
        (Problem, _on_problem),
        (BadInput, _on_bad_input),
        (RequestValidationError, _on_invalid_request),
        (HTTPException, _on_http_exception),
        (ClientDisconnect, _on_disconnect),
        (Exception, _on_unexpected),
        *((error, _on_known_error) for error in ERRORS),
    ):
        app.add_exception_handler(kind, handler)


def _answer(request: Request, problem: Problem) -> Response:
    return problem_response(problem, request.scope[REQUEST_ID])


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _answer(request, error)


async def _on_bad_input(request: Request, error: Exception) -> Response:
    assert isinstance(error, BadInput)
    return _answer(request, Problem(error.code, str(error), status=422))


async def _on_known_error(request: Request, error: Exception) -> Response:
    code = next(code for kind, code in ERRORS.items() if isinstance(error, kind))
    if code.endswith("_unavailable"):
        _log.warning(code, error=str(error))
        what = {"log": "job log", "store": "object store", "ledger": "database"}
        dependency = what[code.partition("_")[0]]
        detail = f"The {dependency} does not answer: try again in 5 seconds."
    elif isinstance(error, ObjectMissing):
        detail = "Its bytes were removed: send the image again."
    else:
        detail = str(error)
    return _answer(request, Problem(code, detail))


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = error.errors()[0]
    place = ".".join(str(part) for part in wrong["loc"])
    advice = " Write it as 2026-11-21T18:00:00Z." if wrong["type"].startswith("datetime") else ""
    return _answer(request, Problem("invalid_request", f"{place}: {wrong['msg']}.{advice}"))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    if error.status_code == 404:
        problem = Problem("not_found", f"There is nothing at {path}: /docs lists every route.")
    elif error.status_code == 405:
        allowed = ", ".join(_methods_of(request))
        problem = Problem(
            "method_not_allowed",
            f"{request.method[:20]} does not work at {path}: use {allowed}.",
            headers={"Allow": allowed},
        )
    else:
        problem = Problem("invalid_request", str(error.detail), status=error.status_code)
    return _answer(request, problem)


def _methods_of(request: Request) -> list[str]:
    """What works at the request's path: of one path several routes may serve a method each."""
    return [
        method
        for method in METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


async def _on_disconnect(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return Response(status_code=_CLIENT_GONE)


async def _on_unexpected(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Starlette raises the error again once this is sent, and the server logs it."""
    request_id = request.scope[REQUEST_ID]
    reply = _answer(
        request,
        Problem("internal_error", "Something broke here: the request_id finds it in the log."),
    )
    reply.headers["X-Request-Id"] = request_id
    return reply
