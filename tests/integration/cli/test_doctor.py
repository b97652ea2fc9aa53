"""`darkroom doctor` on stacks that a test damages."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from api.database.database import Database
from api.recorder import Recorder
from cli.diagnosis import machine, models, running, servers
from cli.diagnosis.finding import Finding, Level
from cli.doctor import diagnose
from common import wire
from common.catalogue import Catalogue, read_catalogue
from common.events import WorkerHeartbeat, WorkerState
from common.job import JobSpec, Priority
from common.job_log import open_job_log
from common.object_store import open_object_store
from common.settings import PROJECT, Settings
from common.topic import EVENTS, WORKERS, job_topic
from tests.integration.ledger.test_recorder import caught_up
from tests.ledger import fresh_postgres, until

pytestmark = pytest.mark.anyio

MODEL = "darkroom/echo"


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which a server was stopped."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{unheard.getsockname()[1]}"


@pytest.fixture(params=["embedded", "servers"])
async def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """A stack that was started once, and stopped."""
    names = tmp_path / "model_names.txt"
    names.write_text(f"{MODEL} task=echo\n")
    data = tmp_path / "data"
    data.mkdir()
    urls = {
        "job_log_url": f"sqlite:///{data}/log.sqlite",
        "object_store_url": f"file://{data}/objects",
        "database_url": f"sqlite+aiosqlite:///{data}/ledger.sqlite",
    }
    if request.param == "servers":
        given: dict[str, str] = request.getfixturevalue("servers")
        name = "t" + secrets.token_hex(6)
        store = given["DARKROOM_OBJECT_STORE_URL"]
        urls = {
            "job_log_url": f"{given['DARKROOM_JOB_LOG_URL']}?prefix={name}.",
            "object_store_url": store.replace("s3://darkroom", f"s3://{name}", 1),
            "database_url": await fresh_postgres(given["DARKROOM_DATABASE_URL"]),
        }
    made = Settings(data_dir=data, model_names=str(names), **urls)  # type: ignore[arg-type]
    await (await Database.open(made.ledger_url)).close()
    await open_object_store(made.store_url)
    log = await open_job_log(made.log_url, partitions=made.partitions)
    await log.append(EVENTS, "nobody", b"{}", wire.HEADERS)
    await log.close()
    return made


@pytest.fixture
def catalogue(settings: Settings) -> Catalogue:
    return read_catalogue(settings.catalogue_file)


def on_servers(settings: Settings) -> bool:
    return settings.log_url.startswith("kafka")


async def found(checks: AsyncIterator[Finding]) -> dict[str, Finding]:
    return {finding.part: finding async for finding in checks}


def changed(settings: Settings, **fields: object) -> Settings:
    return settings.model_copy(update=fields)


def assert_fails(finding: Finding, *words: str) -> None:
    assert finding.level is Level.FAIL
    assert finding.fix
    for word in words:
        assert word in finding.says + finding.fix, finding


async def test_a_sound_stack_has_nothing_to_mend(settings: Settings) -> None:
    recorder = await _recorder(settings)
    findings = await diagnose(settings)
    recorder.cancel()
    await asyncio.wait([recorder])
    parts = {finding.part: finding for finding in findings}
    assert [one for one in findings if one.level is Level.FAIL] == []
    for part in ("packages", "access", "data folder", "disk", "catalogue", "job log",
                 "object store", "ledger", "tables", "recorder"):  # fmt: skip
        assert parts[part].level is Level.OK, parts[part]
    assert parts["api"].level is Level.NOTE
    clocks = {part for part in parts if part.startswith("clock")}
    assert clocks == ({"clock, object store", "clock, ledger"} if on_servers(settings) else set())
    assert ("PostgreSQL" if on_servers(settings) else "SQLite") in parts["ledger"].says


async def test_each_dependency_that_is_gone_is_named_and_the_others_stay_well(
    settings: Settings, catalogue: Catalogue, nobody: str
) -> None:
    gone = changed(
        settings,
        job_log_url=f"kafka://{nobody}",
        object_store_url=f"s3://bucket?endpoint=http://{nobody}",
        database_url=f"postgresql+asyncpg://x@{nobody}/x",
    )
    if not on_servers(settings):
        shutil.rmtree(settings.data_dir)
        gone = settings
    setting = "DARKROOM_" if on_servers(settings) else "darkroom up"
    assert_fails((await found(servers.job_log(gone, catalogue)))["job log"], setting)
    assert_fails((await found(servers.object_store(gone)))["object store"], setting)
    assert_fails((await found(servers.ledger(gone)))["ledger"], setting)
    assert (await found(running.workers(gone, catalogue)))["recorder"].level is Level.NOTE
    if not on_servers(settings):
        assert not settings.data_dir.exists()  # it looked, and made nothing


async def test_files_that_are_no_databases_are_named(
    settings: Settings, catalogue: Catalogue
) -> None:
    if on_servers(settings):
        pytest.skip("there are no files")
    for name in ("log.sqlite", "ledger.sqlite"):
        for file in settings.data_dir.glob(f"{name}*"):
            file.unlink()
        (settings.data_dir / name).write_bytes(b"no database, but long enough to be one " * 30)
    assert_fails((await found(servers.job_log(settings, catalogue)))["job log"], "not a database")
    assert_fails((await found(servers.ledger(settings)))["ledger"], "not a database")


@pytest.mark.parametrize(
    ("revision", "word"), [("0001", "restart"), ("", "restart"), ("9999", "newer version")]
)
async def test_tables_of_another_version_are_named_and_left_as_they_are(
    settings: Settings, revision: str, word: str
) -> None:
    database = await Database.open(settings.ledger_url)
    async with database.write() as connection:
        await connection.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))
    for _ in range(2):
        assert_fails((await found(servers.ledger(settings)))["tables"], word)
    await database.close()


async def test_a_database_without_tables_is_named(settings: Settings) -> None:
    database = await Database.open(settings.ledger_url)
    async with database.write() as connection:
        await connection.execute(text("DROP TABLE alembic_version"))
    await database.close()
    assert_fails((await found(servers.ledger(settings)))["tables"], "start the API once")


async def test_a_missing_bucket_or_folder_is_named_and_not_made(settings: Settings) -> None:
    if on_servers(settings):
        settings = changed(
            settings, object_store_url=settings.store_url.replace("s3://t", "s3://none-", 1)
        )
    else:
        shutil.rmtree(settings.data_dir / "objects")
    for _ in range(2):
        assert_fails((await found(servers.object_store(settings)))["object store"], "no ")


async def test_the_object_that_tries_the_store_is_gone_afterwards(settings: Settings) -> None:
    assert (await found(servers.object_store(settings)))["object store"].level is Level.OK
    store = await open_object_store(settings.store_url)
    assert [one async for one in store.list("")] == []


@pytest.mark.parametrize("seconds", [-30.0, 30.0])
async def test_a_clock_that_is_wrong_is_named(settings: Settings, seconds: float) -> None:
    if not on_servers(settings):
        pytest.skip("one machine has one clock")

    def wrong() -> float:
        return time.time() + seconds

    side = "behind" if seconds > 0 else "ahead"
    store = await found(servers.object_store(settings, wrong))
    assert_fails(store["clock, object store"], side, "NTP")
    ledger = await found(servers.ledger(settings, wrong))
    assert_fails(ledger["clock, ledger"], side, "NTP")


async def test_topics_with_too_few_partitions_are_named(
    settings: Settings, catalogue: Catalogue
) -> None:
    if not on_servers(settings):
        pytest.skip("a file has no partitions")
    assert (await found(servers.job_log(settings, catalogue)))["partitions"].level is Level.NOTE
    more = changed(settings, partitions=settings.partitions + 1)
    assert_fails((await found(servers.job_log(more, catalogue)))["partitions"], "--partitions 5")


async def test_events_that_nobody_records_are_named(
    settings: Settings, catalogue: Catalogue
) -> None:
    looked = await found(running.workers(settings, catalogue, patience=0.5))
    assert_fails(looked["recorder"], "python -m api record")
    recorder = await _recorder(settings)
    looked = await found(running.workers(settings, catalogue))
    assert looked["recorder"].level is Level.OK
    recorder.cancel()
    await asyncio.wait([recorder])


async def test_jobs_that_no_worker_takes_are_named_with_the_reason(
    settings: Settings, catalogue: Catalogue
) -> None:
    log = await open_job_log(settings.log_url, partitions=settings.partitions)
    spec = JobSpec(model=MODEL)
    await log.append(job_topic(MODEL, Priority.LOW), "job", wire.encode(spec), wire.HEADERS)
    part = f"worker {MODEL}"
    looked = await found(running.workers(settings, catalogue, patience=0.5))
    assert_fails(looked[part], "1 jobs wait", "python -m scaler")

    async def beat(state: WorkerState, reason: str = "") -> Finding:
        heartbeat = WorkerHeartbeat(
            worker=f"w-{state}", model=MODEL, state=state, at=time.time(), host="h", pid=1,
            reason=reason,
        )  # fmt: skip
        await log.append(WORKERS, heartbeat.worker, wire.encode(heartbeat), wire.HEADERS)
        return (await found(running.workers(settings, catalogue, patience=0.5)))[part]

    assert_fails(await beat(WorkerState.FAILED, "no such device"), "no such device")
    assert (await beat(WorkerState.LOADING)).level is Level.OK
    await log.close()


@pytest.mark.parametrize("line", ["no/model task=poetry", "two words and more"])
def test_a_catalogue_line_that_makes_no_sense_is_named(tmp_path: Path, line: str) -> None:
    names = tmp_path / "model_names.txt"
    names.write_text(f"{MODEL} task=echo\n{line}\n")
    catalogue, finding = models.catalogue_of(names)
    assert catalogue is None
    assert_fails(finding, f"{names}:2")


def test_a_catalogue_that_is_not_there_is_named(tmp_path: Path) -> None:
    catalogue, finding = models.catalogue_of(tmp_path / "none.txt")
    assert catalogue is None
    assert_fails(finding, "none.txt")


def test_weights_that_are_missing_or_cut_short_are_named(tmp_path: Path) -> None:
    names = tmp_path / "model_names.txt"
    shutil.copytree(PROJECT / "models/shapes/weights", tmp_path / "weights")
    names.write_text("darkroom/shapes path=weights\n")
    catalogue = read_catalogue(names)
    weights = tmp_path / "weights/model.safetensors"
    assert [one.level for one in models.model_files(catalogue)] == [Level.OK]
    weights.write_bytes(weights.read_bytes()[:-1000])
    [cut] = models.model_files(catalogue)
    assert_fails(cut, "model.safetensors")
    weights.unlink()
    [missing] = models.model_files(catalogue)
    assert_fails(missing, "weights")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    """A file in its place: permissions do not bind root."""
    (tmp_path / "data").write_bytes(b"")
    [finding] = machine.data_folder(tmp_path / "data")
    assert_fails(finding, "DARKROOM_DATA_DIR")


def test_a_disk_without_room_is_named(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    folder, disk = machine.data_folder(tmp_path, enough_bytes=free * 2)
    assert folder.level is Level.OK
    assert_fails(disk, "free")
    assert [one.level for one in machine.data_folder(tmp_path, enough_bytes=1)] == [Level.OK] * 2
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_others_reach_without_keys_is_named() -> None:
    [finding] = machine.access(Settings(host="0.0.0.0", auth="off"))
    assert_fails(finding, "DARKROOM_HOST", "DARKROOM_AUTH")
    for safe in (Settings(host="0.0.0.0", auth="auto"), Settings(host="127.0.0.1", auth="off")):
        assert [one.level for one in machine.access(safe)] == [Level.OK]


def test_the_command_ends_with_1_and_tells_each_failure_with_its_fix(tmp_path: Path) -> None:
    ended = _doctor(tmp_path, "--json", DARKROOM_DATA_DIR=str(tmp_path / "none"))
    assert ended.returncode == 1, ended.stderr
    findings = json.loads(ended.stdout)
    failed = {finding["part"] for finding in findings if finding["level"] == "fail"}
    assert failed == {"data folder", "job log", "object store", "ledger"}
    assert all(finding["fix"] for finding in findings if finding["level"] == "fail")


def test_the_command_names_a_setting_that_makes_no_sense(tmp_path: Path) -> None:
    ended = _doctor(tmp_path, DARKROOM_PORT="eighty")
    assert ended.returncode == 1
    assert "DARKROOM_PORT" in ended.stdout
    assert "1 to mend" in ended.stdout


def test_the_command_ends_with_0_on_a_sound_stack(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made = Settings(data_dir=data, job_log_url="", object_store_url="", database_url="")

    async def start_once() -> None:
        await (await Database.open(made.ledger_url)).close()
        await (await open_job_log(made.log_url)).close()
        await open_object_store(made.store_url)

    asyncio.run(start_once())
    ended = _doctor(tmp_path, DARKROOM_DATA_DIR=str(data))
    assert ended.returncode == 0, ended.stdout
    assert "Nothing is wrong." in ended.stdout


def _doctor(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return subprocess.run(
        [sys.executable, "-m", "cli", "doctor", *words],
        cwd=folder,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(PROJECT),
            "DARKROOM_PORT": str(port),
            "COLUMNS": "200",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


async def _recorder(settings: Settings) -> asyncio.Task[None]:
    """A recorder that has caught up with what was there."""

    async def run() -> None:
        log = await open_job_log(settings.log_url, partitions=settings.partitions)
        database = await Database.open(settings.ledger_url)
        try:
            await Recorder(log=log, database=database).run()
        finally:
            await log.close()
            await database.close()

    running = asyncio.create_task(run())
    log = await open_job_log(settings.log_url, partitions=settings.partitions)
    await until(lambda: caught_up(log))
    await log.close()
    return running
