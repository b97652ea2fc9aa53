"""`darkroom repair` after damage that a test does, on both stacks."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import text

from api.database import ending, positions
from api.database.accepting import Accepting
from api.database.database import Database
from api.database.ending import End
from api.database.positions import Appended
from api.recorder import Recorder
from api.upkeep.repairing import Damage
from cli.errors import UsageWrong
from cli.repair import repaired
from common import wire
from common.errors import StoreUnavailable
from common.job import Job, JobSpec, JobState, Output, OutputFile
from common.job_log import JobLog, Position, open_job_log
from common.object_store import ObjectStore, open_object_store
from common.settings import PROJECT, Settings
from common.topic import EVENTS, UPDATES, job_topic
from tests.integration.api.running import running_api
from tests.integration.cli.test_doctor import changed, on_servers, settings
from tests.integration.ledger.test_recorder import all_of, caught_up
from tests.ledger import new_job, the_job, until

__all__ = ["settings"]
pytestmark = pytest.mark.anyio

ROWS, INPUTS, OUTPUTS, ORPHANS, LOG = (
    "rows without a job",
    "waiting jobs whose input is gone",
    "results whose files are gone",
    "objects of nobody, older than a day",
    "waiting jobs that the log has lost",
)


class Stack(NamedTuple):
    """A stack whose recorder runs."""

    settings: Settings
    log: JobLog
    store: ObjectStore
    database: Database
    recorder: asyncio.Task[None]

    async def accept(self, *jobs: Job, at: float | None = None) -> None:
        """Jobs with their inputs, each appended to the log."""
        accepting = Accepting(self.database)
        for job in jobs:
            for key in job.spec.inputs.values():
                await self.store.put(key, b"picture", "image/png")
            await accepting.accept(job)
            topic = job_topic(job.spec.model, job.spec.priority)
            position = await self.log.append(topic, job.id, wire.encode(job.spec), wire.HEADERS)
            async with self.database.write() as connection:
                appended = Appended(position, at or time.time() - 60)
                await positions.keep(connection, {job.id: appended})
        await accepting.close()

    async def succeed(self, job: Job, *names: str) -> tuple[str, ...]:
        """The keys of the result that the job ends with."""
        keys = tuple(f"outputs/{job.id}/t/{name}" for name in names)
        for key in keys:
            await self.store.put(key, b"result", "image/png")
        files = tuple(OutputFile(key=key, content_type="image/png", size=6) for key in keys)
        end = End(state=JobState.SUCCEEDED, at=time.time(), token="t", output=Output(files=files))
        async with self.database.write() as connection:
            await ending.end(connection, job.id, end)
        return keys

    async def found(self, *, apply: bool = False) -> dict[str, Damage]:
        return {damage.kind: damage for damage in await repaired(self.settings, apply=apply)}

    async def assert_found_then_mended(self, kind: str, *samples: str) -> None:
        """Said without --apply and left; said and mended with it; then gone."""
        for apply in (False, False, True):
            found = await self.found(apply=apply)
            assert {k for k, damage in found.items() if damage.count} == {kind}
            assert found[kind].count == len(samples)
            assert sorted(found[kind].samples) == sorted(samples)
        await self.assert_sound()

    async def assert_sound(self) -> None:
        for damage in (await self.found()).values():
            assert (damage.count, damage.unknown) == (0, "")


@pytest.fixture
async def stack(settings: Settings) -> AsyncIterator[Stack]:
    log = await open_job_log(settings.log_url, partitions=settings.partitions)
    database = await Database.open(settings.ledger_url)
    store = await open_object_store(settings.store_url)
    recorder = asyncio.create_task(Recorder(log=log, database=database).run())
    await until(lambda: caught_up(log))
    yield Stack(settings, log, store, database, recorder)
    recorder.cancel()
    await asyncio.wait([recorder])
    await log.close()
    await database.close()


def job_with(name: str) -> Job:
    """Its id is the name."""
    key = f"inputs/local/d/{name}.random.hash"
    return new_job(id=name, spec=JobSpec(model="darkroom/echo", inputs={"image": key}))


async def test_a_sound_stack_has_nothing_to_mend(stack: Stack) -> None:
    waiting, done, text_only = job_with("a"), job_with("b"), job_with("c")
    by_url = new_job(spec=JobSpec(model="darkroom/echo"))
    await stack.accept(waiting, done, text_only, by_url)
    await stack.succeed(done, "0.png", "1.png")
    await stack.succeed(text_only)
    await stack.assert_sound()
    assert set(await stack.found(apply=True)) == {ROWS, INPUTS, OUTPUTS, ORPHANS, LOG}
    assert (await the_job(stack.database, done.id)).removed_at is None
    assert (await the_job(stack.database, waiting.id)).state is JobState.STARTING


async def test_jobs_that_the_log_lost_are_appended_again(stack: Stack) -> None:
    lost, kept = job_with("a"), job_with("b")
    await stack.accept(lost, kept)
    async with stack.database.write() as connection:
        nowhere = Position(job_topic("darkroom/echo", lost.spec.priority), 0, 10_000)
        await positions.keep(connection, {lost.id: Appended(nowhere, time.time() - 30)})
    await stack.assert_found_then_mended(LOG, lost.id)
    topic = job_topic("darkroom/echo", lost.spec.priority)
    assert sorted(d.key for d in await all_of(stack.log, topic, 3)) == sorted(
        [lost.id, lost.id, kept.id]
    )


async def test_jobs_whose_input_is_gone_fail_with_that_as_the_cause(stack: Stack) -> None:
    lost, kept = job_with("a"), job_with("b")
    await stack.accept(lost, kept)
    await stack.store.delete(lost.spec.inputs["image"])
    await stack.assert_found_then_mended(INPUTS, lost.id)
    failed = await the_job(stack.database, lost.id)
    assert (failed.state, failed.error_code) == (JobState.FAILED, "input_missing")
    assert failed.dead_letter == "waiting"
    assert (await the_job(stack.database, kept.id)).state is JobState.STARTING
    assert lost.id in [told.key for told in await all_of(stack.log, UPDATES, 1)]


async def test_results_whose_files_are_gone_answer_410(stack: Stack) -> None:
    lost, kept = job_with("a"), job_with("b")
    await stack.accept(lost, kept)
    _, second = await stack.succeed(lost, "0.png", "1.png")
    await stack.succeed(kept, "0.png")
    await stack.store.delete(second)
    await stack.assert_found_then_mended(OUTPUTS, lost.id)
    async with running_api(stack.settings) as api:
        link = f"/v1/results/{lost.id}/{lost.link_token}"
        for path in (link, f"{link}/0"):
            reply = await api.client.get(path)
            assert (reply.status_code, reply.json()["code"]) == (410, "removed")
        reply = await api.client.get(f"/v1/results/{kept.id}/{kept.link_token}/0")
        assert reply.content == b"result"


async def test_rows_without_their_job_are_deleted(stack: Stack) -> None:
    kept = new_job(labels=("kept",), spec=JobSpec(model="darkroom/echo"))
    await stack.accept(kept)
    statements = [
        "INSERT INTO job_labels VALUES ('local', 'x', 1.0, 'nobody')",
        "INSERT INTO attempts VALUES ('nobody', 't', 'w', 1.0, false)",
    ]
    if on_servers(stack.settings):
        # As a restore without triggers leaves it.
        statements.insert(0, "SET LOCAL session_replication_role = replica")
        async with stack.database.write() as connection:
            for statement in statements:
                await connection.execute(text(statement))
    else:
        _without_foreign_keys(stack.settings, statements)
    await stack.assert_found_then_mended(ROWS, "attempts: nobody", "job_labels: nobody")
    async with stack.database.read() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM job_labels")) == 1


async def test_objects_of_nobody_are_deleted_once_they_are_old(stack: Stack) -> None:
    running, done = job_with("a"), job_with("b")
    await stack.accept(running, done)
    await stack.succeed(done, "0.png")
    orphans = [
        "inputs/local/d/nobody.random.hash",
        "inputs/local/d/a.other.hash",  # of a request with its id that was not accepted
        f"outputs/{done.id}/loser/0.png",
        "outputs/x/t/0.png",
    ]
    for key in (*orphans, f"outputs/{running.id}/t/0.png"):
        await stack.store.put(key, b"bytes", "image/png")
    before = {info.key async for info in stack.store.list("")}
    assert (await stack.found(apply=True))[ORPHANS].count == 0  # none is a day old
    for apply in (False, True):
        found = await repaired(stack.settings, apply=apply, orphan_seconds=-60.0)
        [damage] = [damage for damage in found if damage.count]
        assert (damage.kind, sorted(damage.samples)) == (ORPHANS, sorted(orphans))
    assert {info.key async for info in stack.store.list("")} == before - set(orphans)
    found = await repaired(stack.settings, apply=False, orphan_seconds=-60.0)
    assert not any(damage.count for damage in found)


async def test_events_that_nobody_recorded_make_a_lost_job_unknown(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has not been heard may have ended."""
    monkeypatch.setattr("api.sweeper.RECORDER_SECONDS", 0.5)
    stack.recorder.cancel()
    await asyncio.wait([stack.recorder])
    await stack.log.append(EVENTS, "nobody", b"{}", wire.HEADERS)
    assert "python -m api record" in (await stack.found(apply=True))[LOG].unknown


async def test_a_store_that_is_not_there_removes_nothing(stack: Stack) -> None:
    done = job_with("a")
    await stack.accept(done)
    await stack.succeed(done, "0.png")
    if on_servers(stack.settings):
        url = stack.settings.store_url.replace("s3://t", "s3://none-", 1)
        gone = stack._replace(settings=changed(stack.settings, object_store_url=url))
    else:
        shutil.rmtree(stack.settings.data_dir / "objects")
        gone = stack
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await gone.found(apply=True)
    assert (await the_job(stack.database, done.id)).removed_at is None


async def test_tables_of_another_version_are_not_touched(stack: Stack) -> None:
    async with stack.database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    for _ in range(2):
        with pytest.raises(UsageWrong, match="0001"):
            await stack.found(apply=True)


async def test_the_command_says_what_it_found_and_ends_with_1_until_it_is_mended(
    stack: Stack, tmp_path: Path
) -> None:
    job = job_with("a")
    await stack.accept(job)
    await stack.store.delete(job.spec.inputs["image"])

    async def command(*words: str) -> tuple[int, list[dict[str, object]]]:
        ended = await asyncio.to_thread(_command, stack.settings, words)
        return ended.returncode, [one for one in json.loads(ended.stdout) if one["count"]]

    code, [damage] = await command()
    assert (code, damage["kind"], damage["samples"]) == (1, INPUTS, [job.id])
    assert (await the_job(stack.database, job.id)).state is JobState.STARTING
    code, [damage] = await command("--apply")
    assert (code, damage["count"]) == (0, 1)
    assert await command() == (0, [])


def _command(settings: Settings, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:

    environment = {name: value for name, value in os.environ.items() if "DARKROOM" not in name}
    return subprocess.run(
        [sys.executable, "-m", "cli", "repair", "--json", *words],
        env={
            **environment,
            "PYTHONPATH": str(PROJECT),
            "DARKROOM_JOB_LOG_URL": settings.log_url,
            "DARKROOM_OBJECT_STORE_URL": settings.store_url,
            "DARKROOM_DATABASE_URL": settings.ledger_url,
            "DARKROOM_MODEL_NAMES": settings.model_names,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _without_foreign_keys(settings: Settings, statements: list[str]) -> None:

    with sqlite3.connect(settings.data_dir / "ledger.sqlite") as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
