"""What the routes work with, and what they read off every request."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import Request

from api.access.admission import Admission
from api.access.backlog import Backlog
from api.access.keyring import Keyring
from api.access.keys import LOCAL, ApiKey, Scope
from api.cancel import Canceler
from api.database import jobs
from api.database.database import Database
from api.intake.pictures import PictureLimits
from api.intake.uploads import UploadBudget
from api.live.activity import Activity
from api.live.queues import Queues
from api.live.waiting import Waiters
from api.live.watching import Watching
from api.live.workers_seen import WorkersSeen
from api.metrics import Metrics
from api.problems import Problem
from api.submit import Submitter
from api.upkeep.removal import Remover
from common.catalogue import Catalogue
from common.job import Job
from common.job_log import JobLog
from common.object_store import ObjectStore
from common.settings import Settings
from common.url_guard import UrlGuard

KEY = "api_key"  # in the scope: the key that the request showed

_WAIT = re.compile(r"""(?:^|[,;\s])wait(?:\s*=\s*"?(\d{1,9})\d*"?)?(?=$|[,;\s])""")
_LONGEST_WAIT = 60  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that the routes share."""

    settings: Settings
    catalogue: Catalogue
    log: JobLog
    store: ObjectStore
    database: Database
    submitter: Submitter
    canceler: Canceler
    remover: Remover
    watching: Watching
    waiters: Waiters
    workers: WorkersSeen
    queues: Queues
    activity: Activity
    uploads: UploadBudget
    limits: PictureLimits
    url_guard: UrlGuard  # of images
    metrics: Metrics
    backlog: Backlog
    admission: Admission
    keyring: Keyring | None  # None: auth is off
    webhook_guard: UrlGuard
    started_at: float  # seconds since the epoch

    async def job(self, owner: str | None, job_id: str) -> Job:
        """The owner's job; without `owner` anyone's. Raises Problem `unknown_prediction`."""
        if "\0" in job_id:
            raise _unknown_prediction()
        async with self.database.read() as connection:
            job = await jobs.get(connection, job_id)
        if job is None or owner not in (None, job.owner):
            raise _unknown_prediction()
        return job


def parts_of(request: Request) -> Parts:
    """The application's parts."""
    parts: Parts = request.app.state.parts
    return parts


def owner_of(request: Request) -> str:
    """Who asks: whose a new job or file is."""
    key = _key_of(request)
    return LOCAL if key is None else key.owner


def seen_by(request: Request) -> str | None:
    """Whose jobs the request may see and touch; None: everyone's."""
    key = _key_of(request)
    if key is None:
        return LOCAL
    return None if Scope.ADMIN in key.scopes else key.owner


def _key_of(request: Request) -> ApiKey | None:
    """The key that was shown; None while auth is off."""
    if parts_of(request).keyring is None:
        return None
    key: ApiKey = request.scope[KEY]
    return key


def base_of(request: Request) -> str:
    """What links begin with: the public address, or the one that the request itself used."""
    public = parts_of(request).settings.public_url
    if public:
        return public.rstrip("/")
    scope = request.scope
    host = request.headers.get("host")
    if host is None:
        name, port = scope["server"]
        host = f"{name}:{port}"
    return f"{scope['scheme']}://{host}{scope.get('root_path', '')}"


def wait_of(request: Request) -> float:
    """Seconds to wait for the job's end, by `Prefer: wait[=n]`; 0 without it."""
    found = _WAIT.search(request.headers.get("prefer", "").lower())
    if found is None:
        return 0.0
    return float(min(max(int(found[1] or _LONGEST_WAIT), 1), _LONGEST_WAIT))


def _unknown_prediction() -> Problem:
    return Problem("unknown_prediction", "There is no such prediction: check its id.")
