"""How a job is accepted: its bytes are stored, its row is committed, and it goes to the log."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
import uuid_utils
from msgspec.structs import replace

from api.access.backlog import Backlog, kind_of
from api.access.lanes import lane
from api.database import claims, jobs
from api.database.accepting import Accepting
from api.database.claims import Claim, Earlier
from api.database.database import Database
from api.database.errors import DataError
from api.intake.gathering import Gathering
from api.intake.pictures import Picture
from api.intake.time_limits import check_start_by
from api.overtime import Overtime
from api.problems import Problem
from api.repeating import PUT, Accepted, fingerprint_of, id_reused, key_reused
from api.reusing import Reusing, reuse_key
from common import tracing, wire
from common.catalogue import ModelSpec
from common.crash_points import crash_point
from common.errors import LogUnavailable
from common.job import Job, JobSpec, JsonObject, Parameter, Priority
from common.job_log import JobLog, Position
from common.object_key import input_key
from common.object_store import ObjectStore
from common.topic import job_topic

APPEND_SECONDS = 2.0  # that a reply waits for the log; the sweeper appends what never landed

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What was asked, checked and complete."""

    owner: str
    model: ModelSpec
    priority: Priority = Priority.NORMAL
    parameters: dict[str, Parameter] = field(default_factory=dict)
    picture: Picture | None = None
    image_url: str | None = None  # in place of a picture: the consumer fetches it
    start_by: float | None = None  # seconds since the epoch, as is the next
    cancel_at: float | None = None
    labels: tuple[str, ...] = ()
    metadata: JsonObject = field(default_factory=dict)
    webhook: str | None = None
    webhook_events: tuple[str, ...] = ()
    reuse: bool = False  # an earlier result will do
    group_id: str | None = None
    retry_of: str | None = None  # the job that this one runs once more


def new_id() -> str:
    """An id for a job or a file; ids sort by the time they were made."""
    return str(uuid_utils.uuid7())


class Submitter:
    """Accepts jobs."""

    def __init__(
        self,
        *,
        log: JobLog,
        store: ObjectStore,
        database: Database,
        accepting: Accepting,
        backlog: Backlog,
        burst: int,
        placed: Callable[[str, Position], None] = lambda job_id, position: None,  # noqa: ARG005
    ) -> None:
        self._log, self._store, self._database = log, store, database
        self._accepting, self._backlog, self._burst = accepting, backlog, burst
        self._placed = placed  # hears where the log holds each job
        self._gathering = Gathering()
        self._appends = Overtime()
        self._reusing = Reusing(log=log, database=database)

    async def submit(self, job_id: str, asked: Submission) -> Job:
        """The job, durably accepted. Raises StoreUnavailable, LedgerUnavailable: then it is not."""
        return await self.accept(_job(job_id, asked), asked.picture, reuse=asked.reuse)

    async def submit_once(
        self, job_id: str, asked: Submission, *, route: str, key: str | None
    ) -> Accepted:
        """What `accept_once` does with it."""
        job, picture = _job(job_id, asked), asked.picture
        return await self.accept_once(job, picture, route=route, key=key, reuse=asked.reuse)

    async def accept(self, job: Job, picture: Picture | None, *, reuse: bool = False) -> Job:
        """What `submit` does, with a job whose input is `picture`, or needs no storing."""
        accepted = await self._commit(job, picture, None, reuse=reuse)
        assert isinstance(accepted, Job)
        return accepted

    async def accept_once(
        self,
        job: Job,
        picture: Picture | None,
        *,
        route: str,
        key: str | None,
        reuse: bool = False,
    ) -> Accepted:
        """The same, unless the key made a job before: then that one, and nothing is stored.

        Without a key the id is the client's own, and does as one. Raises Problem too: the key or
        the id stands for another request.
        """
        claim = Claim(fingerprint_of(route, job), key)
        earlier = await self._earlier(job, claim)
        if earlier is not None:
            return Accepted(earlier, replayed=True)
        try:
            accepted = await self._commit(job, picture, claim, reuse=reuse)
        except DataError:
            earlier = await self._earlier(job, claim)
            if earlier is None:  # the row was refused for another reason
                raise
            return Accepted(earlier, replayed=True)
        if isinstance(accepted, Earlier):
            return Accepted(await self._made(accepted, claim), replayed=True)
        return Accepted(accepted)

    async def close(self) -> None:
        """Let the appends that are under way land."""
        await self._appends.close()
        await self._reusing.close()

    async def _commit(
        self, job: Job, picture: Picture | None, claim: Claim | None, *, reuse: bool
    ) -> Job | Earlier:
        """The job once it is accepted, ended if its result was there; or what its key made."""
        check_start_by(job.spec.start_by, job.created_at)
        if reuse:
            taken = await self._reusing.take_over(job, claim)
            if taken is not None:
                return taken
        job = self._in_its_lane(job)
        with self._backlog.adding(job):
            if picture is not None:
                crash_point("api.before_put")
                with tracing.begin("store input", job.traceparent):
                    await self._store_input(job.spec.inputs["image"], picture)
            crash_point("api.before_commit")
            with tracing.begin("commit", job.traceparent):
                earlier = await self._accepting.accept(job, claim)
        if earlier is not None:
            return earlier
        crash_point("api.after_commit")
        await self._appends.wait(self._append(job), APPEND_SECONDS)
        crash_point("api.before_reply")
        return job

    async def _earlier(self, job: Job, claim: Claim) -> Job | None:
        """What the job's key, or its id, made before. Raises Problem if that is something else."""
        if claim.key is not None:
            async with self._database.read() as connection:
                found = await claims.find(connection, job.owner, claim.key, job.created_at)
            return None if found is None else await self._made(found, claim)
        async with self._database.read() as connection:
            there = await jobs.get(connection, job.id)
        if there is None:
            return None
        if there.owner != job.owner:
            raise Problem("unknown_prediction", "There is no such prediction: choose another id.")
        if there.removed_at is not None:
            raise Problem("removed", "What this prediction made was removed: choose a new id.")
        if fingerprint_of(PUT, there) != claim.fingerprint:
            raise id_reused()
        return there

    async def _made(self, earlier: Earlier, claim: Claim) -> Job:
        if earlier.fingerprint != claim.fingerprint:
            raise key_reused()
        async with self._database.read() as connection:
            job = await jobs.get(connection, earlier.job)
        if job is None:  # it went with its key since that was read
            raise Problem("removed", "The job of this key was removed: send a new key.")
        return job

    def _in_its_lane(self, job: Job) -> Job:
        chosen = lane(job.spec.priority, self._backlog.of(kind_of(job)), self._burst)
        return job if chosen is job.spec.priority else replace(job, lane=chosen)

    async def _store_input(self, key: str, picture: Picture) -> None:
        put = self._store.put(key, picture.content, picture.content_type)
        await self._gathering.stored(put)

    async def _append(self, job: Job) -> None:
        span = tracing.begin("append", job.traceparent, kind="producer")
        try:
            with span:
                position = await self._log.append(
                    job_topic(job.spec.model, job.lane or job.spec.priority),
                    job.id,
                    wire.encode(job.spec),
                    {**wire.HEADERS, **tracing.headers(span.traceparent)},
                )
        except LogUnavailable as error:
            _log.warning("append_failed", job_id=job.id, model=job.spec.model, error=str(error))
        else:
            self._accepting.keep_position(job.id, position)
            self._placed(job.id, position)


def _job(job_id: str, asked: Submission) -> Job:
    now = time.time()
    inputs = {}
    if asked.picture is not None:
        inputs["image"] = input_key(asked.owner, job_id, asked.picture.sha256, now)
    elif asked.image_url is not None:
        inputs["image"] = asked.image_url
    spec = JobSpec(
        model=asked.model.name,
        priority=asked.priority,
        parameters=asked.parameters,
        inputs=inputs,
        start_by=asked.start_by,
    )
    return Job(
        id=job_id,
        owner=asked.owner,
        spec=spec,
        version=asked.model.version,
        link_token=secrets.token_hex(16),
        created_at=now,
        cancel_at=asked.cancel_at,
        webhook=asked.webhook,
        webhook_events=asked.webhook_events,
        labels=asked.labels,
        metadata=asked.metadata,
        group_id=asked.group_id,
        retry_of=asked.retry_of,
        reuse_key=reuse_key(asked.model, spec),
        traceparent=tracing.current.get(),
    )
