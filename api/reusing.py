"""Answering from an earlier result: the same image, model, version and parameters of one owner."""

from __future__ import annotations

from hashlib import sha256

import msgspec
import structlog

from api.appending import Message, append_all
from api.database import reusing
from api.database.claims import Claim, Earlier
from api.database.database import Database
from api.overtime import Overtime
from common.catalogue import ModelSpec
from common.errors import LogUnavailable
from common.events import JobUpdate
from common.job import Job, JobSpec, is_url
from common.job_log import JobLog
from common.object_key import content_of
from common.parameters import repeatable_parameters
from common.topic import UPDATES

TELL_SECONDS = 2.0  # that a reply waits for the log

_encoder = msgspec.json.Encoder()
_log = structlog.get_logger()


def reuse_key(model: ModelSpec, spec: JobSpec) -> str | None:
    """Jobs with the same one have the same result; None where the same may give another.

    All parameters count, those of the model's line and the defaults too: an operator who changes a
    model's prompt gets new results.
    """
    image = spec.inputs.get("image", "")
    if is_url(image):
        return None
    parameters = repeatable_parameters(model, spec.parameters)
    if parameters is None:
        return None
    asked = (model.name, model.version, str(model.path or ""), parameters, content_of(image))
    return sha256(_encoder.encode(asked)).hexdigest()[:32]


class Reusing:
    """Ends jobs with results that are there already."""

    def __init__(self, *, log: JobLog, database: Database) -> None:
        self._log, self._database = log, database
        self._tellings = Overtime()

    async def take_over(self, job: Job, claim: Claim | None) -> Job | Earlier | None:
        """The job, ended with an earlier result of its owner's; None if there is none to be had.

        Or what the claim's key made before. Raises LedgerUnavailable, and what `accept` does for
        an id that is taken.
        """
        if job.reuse_key is None:
            return None
        async with self._database.read() as connection:
            source = await reusing.find(connection, job.owner, job.reuse_key)
        if source is None:
            return None
        async with self._database.write() as connection:
            taken = await reusing.take_over(connection, job, source, claim)
        if taken is None or isinstance(taken, Earlier):
            return taken
        ended, update = taken
        await self._tellings.wait(self._tell(update), TELL_SECONDS)
        return ended

    async def close(self) -> None:
        """Let what is being told be told."""
        await self._tellings.close()

    async def _tell(self, update: JobUpdate) -> None:
        """The job has ended whatever comes of this: streams read the row again by themselves."""
        try:
            await append_all(self._log, [Message(UPDATES, update.job, update)])
        except LogUnavailable as error:
            _log.warning("reuse_not_told", job_id=update.job, error=str(error))
