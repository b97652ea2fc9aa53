"""What a submit does when the log does not answer: the job is accepted all the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from api.access.backlog import Backlog
from api.database.accepting import Accepting
from api.database.database import Database
from api.submit import Submission, Submitter, new_id
from common.catalogue import ModelSpec, Task
from common.job import JobState
from common.job_log import JobLog
from common.object_store import open_object_store
from common.topic import job_topics
from tests.integration.ledger.half_log import HalfLog
from tests.ledger import the_job

pytestmark = pytest.mark.anyio

MODEL = "darkroom/echo"


async def test_a_log_that_never_answers_holds_a_reply_up_for_a_moment_only(
    database: Database, log: JobLog, accepting: Accepting, tmp_path: Path
) -> None:
    half = HalfLog(log, closed=next(iter(job_topics(MODEL))).rpartition(".")[0])
    store = await open_object_store(f"file://{tmp_path}/objects")
    submitter = Submitter(
        log=half,
        store=store,
        database=database,
        accepting=accepting,
        backlog=Backlog(database),
        burst=0,
    )
    asked = Submission(owner="local", model=ModelSpec(name=MODEL, task=Task.ECHO))
    job = await asyncio.wait_for(submitter.submit(new_id(), asked), 30)
    assert half.tried.is_set()
    assert (await the_job(database, job.id)).state is JobState.STARTING
    half.open.set()
    await submitter.close()
    bounds = await log.bounds(dict.fromkeys(job_topics(MODEL), None))
    assert sum(each.end - each.start for each in bounds.values()) == 1
