"""`darkroom migrate` from a real SQLite installation to real servers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import Boolean, Column, Double, Integer, LargeBinary, Table, insert, select, text

from api.database.accepting import Accepting
from api.database.condition import condition_of
from api.database.copying import BATCH
from api.database.database import Database
from api.database.tables import metadata
from cli.errors import UsageWrong
from cli.migrate import migrated
from common import wire
from common.errors import InUse, StoreUnavailable
from common.events import JobStarted
from common.job import Job, JobSpec, JobState, Output, OutputFile
from common.job_log import open_job_log
from common.object_store import ObjectStore, open_object_store
from common.object_store.s3 import S3ObjectStore, read_address
from common.settings import PROJECT, Settings
from common.topic import EVENTS
from tests.integration.ledger.test_recorder import succeeded
from tests.ledger import fresh_postgres, new_job, the_job

pytestmark = pytest.mark.anyio

POSITION = ("log_topic", "log_partition", "log_offset", "appended_at")
MANY = BATCH + 200


@pytest.fixture
async def target(servers: dict[str, str]) -> Settings:
    """Servers with an empty database, and without a bucket."""
    name = "t" + secrets.token_hex(6)
    store = servers["DARKROOM_OBJECT_STORE_URL"]
    return Settings(
        job_log_url=f"{servers['DARKROOM_JOB_LOG_URL']}?prefix={name}.",
        object_store_url=store.replace("s3://darkroom", f"s3://{name}", 1),
        database_url=await fresh_postgres(servers["DARKROOM_DATABASE_URL"]),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def old(folder: Path) -> AsyncIterator[Database]:
    """The ledger of an embedded installation, with its store and log beside it."""
    database = await Database.open(ledger_of(folder))
    await open_object_store(f"file://{folder}/objects")
    await (await open_job_log(f"sqlite:///{folder}/log.sqlite")).close()
    yield database
    await database.close()


def ledger_of(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder}/ledger.sqlite"


async def with_input(folder: Path, number: int) -> Job:
    """A job whose input lies in the old store."""
    content = b"picture %d" % number
    digest = hashlib.sha256(content).hexdigest()
    job = new_job(id=f"id-{number:05}")
    key = f"inputs/local/2026-11-22/{job.id}.random.{digest}"
    await (await old_store(folder)).put(key, content, "image/png")
    return new_job(id=job.id, spec=JobSpec(model="darkroom/echo", inputs={"image": key}))


async def old_store(folder: Path) -> ObjectStore:
    return await open_object_store(f"file://{folder}/objects")


async def accept(database: Database, *jobs: Job) -> None:
    accepting = Accepting(database)
    for job in jobs:
        await accepting.accept(job)
    await accepting.close()


async def rows_of(url: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, in the order of keys."""
    database = await Database.open(url)
    found = {}
    async with database.read() as connection:
        for table in metadata.sorted_tables:
            query = select(table)
            rows = [dict(row) for row in (await connection.execute(query)).mappings()]
            found[table.name] = sorted(rows, key=lambda row: str(_key(table, row)))
    await database.close()
    return found


def _key(table: Table, row: dict[str, Any]) -> list[Any]:
    return [row[column.name] for column in table.primary_key.columns]


def some_row(table: Table, number: int) -> dict[str, Any]:
    """A value in every column, that no other row of the table has."""
    row = {column.name: _value(column, number) for column in table.columns}
    if table.name == "jobs":
        row |= {"state": "succeeded", "output": '{"text":"a ring","files":[]}', "inputs": "{}"}
    return row


def _value(column: Column[Any], number: int) -> Any:
    if column.foreign_keys:
        return f"id-{number:05}"
    if isinstance(column.type, LargeBinary):
        return b"\x00\xff%d" % number
    for kind, value in ((Boolean, number % 2 == 0), (Double, number + 0.1), (Integer, number)):
        if isinstance(column.type, kind):
            return value
    return f"{column.name}-{number:05}"


async def fill(database: Database, count: int) -> None:
    for table in metadata.sorted_tables:
        async with database.write() as connection:
            await connection.execute(insert(table), [some_row(table, n) for n in range(count)])


async def run(target: Settings, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        command(folder, *words),
        env=environment(target),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "cli", "migrate", "--from", str(folder), *words]


def environment(target: Settings) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if "DARKROOM" not in name}
    return {
        **plain,
        "PYTHONPATH": str(PROJECT),
        "DARKROOM_JOB_LOG_URL": target.log_url,
        "DARKROOM_OBJECT_STORE_URL": target.store_url,
        "DARKROOM_DATABASE_URL": target.ledger_url,
    }


def test_no_table_has_a_sequence_that_a_copy_would_leave_behind() -> None:
    for table in metadata.sorted_tables:
        for column in table.columns:
            assert column.identity is None
            assert column.default is None
        assert table.autoincrement_column is None


async def test_every_row_of_every_table_arrives_without_its_place_in_the_old_log(
    old: Database, folder: Path, target: Settings
) -> None:
    await fill(old, MANY)
    await old.close()
    before = await rows_of(ledger_of(folder))

    plan = await migrated(target, folder, apply=False)
    assert set(plan.rows.values()) == {MANY}
    assert (await condition_of(target.ledger_url)).revision is None  # only said
    plan = await migrated(target, folder, apply=True)
    assert (plan.moved, plan.left) == (False, 0)

    nowhere = dict.fromkeys(POSITION)
    after = await rows_of(target.ledger_url)
    assert after["jobs"] == [{**row, **nowhere} for row in before["jobs"]]
    assert after | {"jobs": []} == before | {"jobs": []}
    assert await rows_of(ledger_of(folder)) == before  # the old one stays


async def test_objects_arrive_with_their_types_and_those_that_are_there_are_left(
    old: Database, folder: Path, target: Settings
) -> None:
    waiting, done = await with_input(folder, 1), await with_input(folder, 2)
    picture, words = (f"outputs/{done.id}/t/0.png", f"outputs/{done.id}/t/1.weird")
    store = await old_store(folder)
    await store.put(picture, b"drawn", "image/png")
    await store.put(words, b"said", "text/weird")
    files = (
        OutputFile(key=picture, content_type="image/png", size=5),
        OutputFile(key=words, content_type="text/weird", size=4),
    )
    await accept(old, waiting, done)
    async with old.write() as connection:
        await connection.execute(
            text("UPDATE jobs SET state='succeeded', completed_at=1, output=:made WHERE id=:id"),
            {"made": wire.encode(Output(files=files)).decode(), "id": done.id},
        )
    await old.close()
    new = await open_object_store(target.store_url)
    await new.put(picture, b"drawn", "image/png")
    [there] = [info async for info in new.list("")]

    plan = await migrated(target, folder, apply=False)
    assert (plan.objects, plan.left) == (4, 3)
    plan = await migrated(target, folder, apply=True)
    assert (plan.objects, plan.left, plan.damaged) == (4, 0, [])

    copied = {info.key: info async for info in new.list("")}
    assert copied[picture] == there  # not written a second time
    async for info in store.list(""):
        assert await new.get(info.key) == await store.get(info.key)
    assert await content_type(new, words) == "text/weird"


async def content_type(store: ObjectStore, key: str) -> str:
    link = await store.link(key, expires_in=60)
    assert link is not None
    async with httpx2.AsyncClient(trust_env=False) as client:
        return str((await client.get(link)).headers["content-type"])


async def test_an_input_that_is_not_what_its_key_says_is_named(
    old: Database, folder: Path, target: Settings
) -> None:
    job = await with_input(folder, 1)
    await accept(old, job)
    await old.close()
    (folder / "objects" / job.spec.inputs["image"]).write_bytes(b"rotten")
    assert (await migrated(target, folder, apply=True)).damaged == [job.spec.inputs["image"]]


async def test_a_store_that_is_not_there_is_not_taken_for_an_empty_one(
    old: Database, folder: Path, target: Settings
) -> None:
    await accept(old, await with_input(folder, 1))
    await old.close()
    (folder / "objects").rename(folder / "elsewhere")
    with pytest.raises(StoreUnavailable):
        await migrated(target, folder, apply=True)
    assert (await rows_of(target.ledger_url))["jobs"] == []


async def test_what_the_old_log_still_tells_is_recorded_first(
    old: Database, folder: Path, target: Settings
) -> None:
    """A consumer that finishes while everything stops is heard by nobody."""
    finished, running, waiting = [await with_input(folder, number) for number in range(3)]
    await accept(old, finished, running, waiting)
    await old.close()
    log = await open_job_log(f"sqlite:///{folder}/log.sqlite")
    told = (
        JobStarted(job=finished.id, token="t", at=1.0, worker="w"),
        succeeded(finished, "t"),
        JobStarted(job=running.id, token="t", at=2.0, worker="w"),
    )
    for event in told:
        await log.append(EVENTS, event.job, wire.encode(event), wire.HEADERS)
    await log.close()

    plan = await migrated(target, folder, apply=False)
    assert (plan.events, plan.waiting) == (3, 3)
    plan = await migrated(target, folder, apply=True)
    assert plan.waiting == 2

    new = await Database.open(target.ledger_url)
    states = [(await the_job(new, job.id)).state for job in (finished, running, waiting)]
    assert states == [JobState.SUCCEEDED, JobState.PROCESSING, JobState.STARTING]
    output = (await the_job(new, finished.id)).output
    assert output is not None
    assert output.text == "a red circle"
    await new.close()


@pytest.mark.parametrize("file", ["ledger", "log"])
async def test_it_refuses_while_a_process_has_the_old_stack_open(
    old: Database, folder: Path, target: Settings, file: str
) -> None:
    await accept(old, await with_input(folder, 1))
    if file == "log":
        await old.close()
        log = await open_job_log(f"sqlite:///{folder}/log.sqlite")
    for apply in (False, True):
        with pytest.raises(InUse, match=f"{file}.sqlite is open in another process"):
            await migrated(target, folder, apply=apply)
    if file == "log":
        await log.close()


async def test_it_refuses_a_ledger_with_rows_and_names_their_tables(
    old: Database, folder: Path, target: Settings
) -> None:
    await accept(old, await with_input(folder, 1))
    await old.close()
    new = await Database.open(target.ledger_url)
    async with new.write() as connection:
        await connection.execute(
            insert(metadata.tables["api_keys"]), [some_row(metadata.tables["api_keys"], 7)]
        )
    await new.close()
    for apply in (False, True):
        with pytest.raises(UsageWrong, match="has rows already, in api_keys"):
            await migrated(target, folder, apply=apply)
    with pytest.raises(StoreUnavailable, match="no such bucket"):
        [_ async for _ in S3ObjectStore(read_address(target.store_url)).list("")]


async def test_once_moved_it_says_so_and_changes_nothing_though_the_new_side_lives_on(
    old: Database, folder: Path, target: Settings
) -> None:
    await accept(old, await with_input(folder, 1))
    await old.close()
    await migrated(target, folder, apply=True)
    new = await Database.open(target.ledger_url)
    await accept(new, new_job())
    await new.close()
    before = await rows_of(target.ledger_url)
    for apply in (False, True):
        assert (await migrated(target, folder, apply=apply)).moved
    assert await rows_of(target.ledger_url) == before


async def test_an_empty_installation_is_moved_too(
    old: Database, folder: Path, target: Settings
) -> None:
    await old.close()
    plan = await migrated(target, folder, apply=True)
    assert set(plan.rows.values()) == {0}
    assert (await condition_of(target.ledger_url)).revision is not None


async def test_killed_wherever_it_was_it_is_run_again_and_all_is_there_once(
    old: Database, folder: Path, target: Settings
) -> None:
    """It says each thing that it has done, and is killed as soon as it says it."""
    await accept(old, *[await with_input(folder, number) for number in range(40)])
    await old.close()
    log = await open_job_log(f"sqlite:///{folder}/log.sqlite")
    event = JobStarted(job="id-00000", token="t", at=1.0, worker="w")
    await log.append(EVENTS, event.job, wire.encode(event), wire.HEADERS)
    await log.close()

    last = metadata.sorted_tables[-1].name
    for line in ("recording", "copying 40", "copied 40 jobs", f"copied 0 {last}"):
        await asyncio.to_thread(_killed_once_it_says, line, folder, target)
        rows = (await rows_of(target.ledger_url))["jobs"]
        assert len(rows) == 0 or (last in line and len(rows) == 40)  # all of it, or nothing

    ended = await run(target, folder, "--apply", "--json")
    assert (ended.returncode, json.loads(ended.stdout)["left"]) == (0, 0)
    old_rows = (await rows_of(ledger_of(folder)))["jobs"]
    new_rows = (await rows_of(target.ledger_url))["jobs"]
    assert [row["id"] for row in new_rows] == [row["id"] for row in old_rows]
    assert {row["state"] for row in new_rows} == {"starting", "processing"}
    store = await open_object_store(target.store_url)
    assert len([info async for info in store.list("")]) == 40


def _killed_once_it_says(wanted: str, folder: Path, target: Settings) -> None:
    with subprocess.Popen(
        command(folder, "--apply"),
        env=environment(target),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said: list[str] = []
        while not (said and said[-1].startswith(wanted)):
            said.append(process.stderr.readline().rstrip())
            assert said[-1], said
        process.kill()
        process.wait(60)


async def test_tables_of_another_version_are_not_touched(
    old: Database, folder: Path, target: Settings
) -> None:
    await accept(old, await with_input(folder, 1))
    for database, words in ((old, "start `darkroom up`"), (None, "an empty database")):
        changed = database or await Database.open(target.ledger_url)
        async with changed.write() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        await changed.close()
        with pytest.raises(UsageWrong, match=words):
            await migrated(target, folder, apply=True)
        with sqlite3.connect(folder / "ledger.sqlite") as connection_:
            newest = (await condition_of(target.ledger_url)).newest
            connection_.execute("UPDATE alembic_version SET version_num = ?", (newest,))
        connection_.close()


async def test_rows_without_their_job_are_named_before_anything_is_copied(
    old: Database, folder: Path, target: Settings
) -> None:
    await old.close()
    with sqlite3.connect(folder / "ledger.sqlite") as connection:
        connection.execute("INSERT INTO attempts VALUES ('nobody', 't', 'w', 1.0, false)")
    connection.close()
    with pytest.raises(UsageWrong, match="darkroom repair --apply"):
        await migrated(target, folder, apply=True)


@pytest.mark.parametrize("setting", ["job_log_url", "object_store_url", "database_url"])
async def test_every_server_must_be_named(folder: Path, setting: str) -> None:
    named = {
        "job_log_url": "kafka://127.0.0.1:1",
        "object_store_url": "s3://some-bucket?endpoint=http://127.0.0.1:1",
        "database_url": "postgresql+asyncpg://nobody@127.0.0.1:1/none",
    }
    wrong = Settings(data_dir=folder, **{**named, setting: ""})  # type: ignore[arg-type]
    with pytest.raises(UsageWrong, match=f"DARKROOM_{setting.upper()} names no server"):
        await migrated(wrong, folder, apply=False)
    with pytest.raises(UsageWrong, match=r"no ledger\.sqlite"):
        await migrated(Settings(**named), folder, apply=False)  # type: ignore[arg-type]


async def test_the_command_says_what_it_would_do_and_what_it_did(
    old: Database, folder: Path, target: Settings
) -> None:
    await accept(old, await with_input(folder, 1))
    refused = await run(target, folder, "--apply")
    assert refused.returncode == 2
    assert "Stop Darkroom there" in refused.stderr
    await old.close()
    for words, says in (
        ((), "Nothing was changed: `darkroom migrate --apply` moves it."),
        (("--apply",), "Moved. 1 jobs go on once the servers' processes run."),
        (("--apply",), "nothing is left to do"),
    ):
        ended = await run(target, folder, *words)
        assert ended.returncode == 0, ended.stderr
        assert says in ended.stdout
