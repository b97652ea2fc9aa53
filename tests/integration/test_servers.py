"""The servers that the other integration tests run against."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import aiokafka
import aiokafka.admin
import aiokafka.errors
import asyncpg
import boto3
import psutil
import pytest
from botocore.config import Config

from infra.cache import build_once, cache_root
from infra.errors import MissingTools, ServerFailed
from infra.minio import Minio
from infra.ports import free_ports
from infra.process import is_alive
from infra.servers import BUCKET, Servers
from infra.tools import Tool, require

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROOT = Path(__file__).parents[2]
GONE_DEADLINE_S = 15.0
TOPIC = "kept"
BODY = b"kept"


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers() as running:
        yield running


@pytest.fixture
def directory() -> Iterator[Path]:
    """A folder that Postgres may pass through when root runs the tests, unlike tmp_path."""
    made = Path(tempfile.mkdtemp(prefix="darkroom-test-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


def _topics(servers: Servers) -> set[str]:
    async def ask() -> set[str]:
        admin = aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=servers.kafka.address)
        await admin.start()
        try:
            return {name for name in await admin.list_topics() if not name.startswith("__")}
        finally:
            await admin.close()

    return asyncio.run(ask())


def _append(servers: Servers) -> None:
    async def send() -> None:
        address = servers.kafka.address
        admin = aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        await admin.create_topics([aiokafka.admin.NewTopic(TOPIC, 1, 1)])
        await admin.close()
        async with aiokafka.AIOKafkaProducer(bootstrap_servers=address, acks="all") as producer:
            await producer.send_and_wait(TOPIC, BODY)

    asyncio.run(send())


def _first_record(servers: Servers) -> bytes:
    async def read() -> bytes:
        consumer = aiokafka.AIOKafkaConsumer(
            TOPIC, bootstrap_servers=servers.kafka.address, auto_offset_reset="earliest"
        )
        async with consumer:
            record = await asyncio.wait_for(consumer.getone(), 30)
        return bytes(record.value)

    return asyncio.run(read())


def _s3(servers: Servers) -> "closing[S3Client]":
    config = Config(proxies={}, s3={"addressing_style": "path"})
    session = boto3.Session(servers.minio.access_key, servers.minio.secret_key)
    endpoint = f"http://{servers.minio.address}"
    return closing(session.client("s3", "us-east-1", endpoint_url=endpoint, config=config))


def _execute(servers: Servers, *statements: str) -> list[str]:
    """The first column of what the last statement answers."""

    async def ask() -> list[str]:
        url = servers.settings()["DARKROOM_DATABASE_URL"].replace("+asyncpg", "")
        connection = await asyncpg.connect(url)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return [str(row[0]) for row in await connection.fetch(statements[-1])]
        finally:
            await connection.close()

    return asyncio.run(ask())


def _store_everywhere(servers: Servers) -> None:
    _append(servers)
    with _s3(servers) as client:
        client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key=TOPIC, Body=BODY)
    _execute(servers, f"CREATE TABLE {TOPIC} (name text)", f"INSERT INTO {TOPIC} VALUES ('kept')")


def _assert_stored_everywhere(servers: Servers) -> None:
    assert _first_record(servers) == BODY
    with _s3(servers) as client:
        assert client.get_object(Bucket=BUCKET, Key=TOPIC)["Body"].read() == BODY
    assert _execute(servers, f"SELECT name FROM {TOPIC}") == ["kept"]


def _family(*pids: int | None) -> list[psutil.Process]:
    """The processes and all that they started."""
    roots = [psutil.Process(pid) for pid in pids]
    return roots + [child for root in roots for child in root.children(recursive=True)]


def _wait_until_gone(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that are still alive at the deadline."""
    deadline = time.monotonic() + GONE_DEADLINE_S
    while any(map(is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [process for process in processes if is_alive(process)]


def test_data_survive_a_restart_and_a_kill_but_not_a_wipe(servers: Servers) -> None:
    settings = servers.settings()
    _store_everywhere(servers)
    for server in servers.all:
        server.restart()
        server.kill()
        assert not server.running
        server.start()
    _assert_stored_everywhere(servers)
    for server in servers.all:
        server.wipe()
    assert servers.settings() == settings
    assert _topics(servers) == set()
    with _s3(servers) as client:
        assert client.list_buckets()["Buckets"] == []
    assert _execute(servers, f"SELECT to_regclass('{TOPIC}')") == ["None"]


def test_kafka_creates_no_topic_unasked(servers: Servers) -> None:
    async def send() -> None:
        async with aiokafka.AIOKafkaProducer(
            bootstrap_servers=servers.kafka.address, request_timeout_ms=1_000
        ) as producer:
            await producer.send_and_wait("unasked", BODY)

    with pytest.raises(aiokafka.errors.KafkaError):
        asyncio.run(send())
    assert "unasked" not in _topics(servers)


def test_postgres_keeps_what_it_committed_and_admits_200_clients(servers: Servers) -> None:
    assert _execute(servers, "SHOW fsync") == ["on"]
    assert _execute(servers, "SHOW max_connections") == ["200"]


def test_every_listening_port_is_on_loopback(servers: Servers) -> None:
    listening = {
        connection.laddr.ip.removeprefix("::ffff:")
        for server in servers.all
        for connection in psutil.Process(server.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    # MinIO adds every loopback address there is to the one it is given.
    assert "127.0.0.1" in listening
    assert listening <= {"127.0.0.1", "::1"}


def test_stop_leaves_no_process_and_no_temporary_folder() -> None:
    with Servers() as own:
        family = _family(*(server.pid for server in own.all))
        assert own.directory.is_dir()
    assert [process for process in family if is_alive(process)] == []
    assert not own.directory.exists()


def _command_until_settings(directory: Path) -> tuple["subprocess.Popen[str]", dict[str, str]]:
    """`python -m infra`, once it has printed its five settings."""
    command = [sys.executable, "-m", "infra", "--dir", str(directory)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(5)]
    return process, dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -9)]
)
def test_the_command_leaves_no_process_however_it_ends(
    directory: Path, number: signal.Signals, code: int
) -> None:
    process, settings = _command_until_settings(directory)
    with process:
        family = _family(process.pid)
        assert {"java", "minio", "postgres"} <= {member.name() for member in family}
        process.send_signal(number)
        assert process.wait(30) == code
    assert _wait_until_gone(family) == []
    assert settings == Servers(directory).settings()


def test_a_kept_folder_keeps_ports_keys_and_data(directory: Path) -> None:
    with Servers(directory) as first:
        settings = first.settings()
        _store_everywhere(first)
    with Servers(directory) as second:
        assert second.settings() == settings
        _assert_stored_everywhere(second)


def _minio(directory: Path, port: int) -> Minio:
    Minio.install()
    return Minio(directory / "minio", port, "access-key", "secret-key")


def test_a_server_outlives_the_thread_that_started_it(directory: Path) -> None:
    server = _minio(directory, *free_ports(1))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(server.start).result()
    time.sleep(0.2)
    assert server.running
    server.stop()


def test_a_failed_start_tells_the_log_and_its_end(directory: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = _minio(directory, taken.getsockname()[1])
        with pytest.raises(ServerFailed, match="port is already in use") as caught:
            server.start()
    assert str(server.log) in str(caught.value)
    assert not server.running


def test_an_absent_program_is_named_in_one_line_for_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    absent = [Tool("one", lambda: None), Tool("two", lambda: None)]
    with pytest.raises(MissingTools) as caught:
        require(absent)
    assert caught.value.root_line == "sudo apt-get update && sudo apt-get install -y one two"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "darkroom"


def test_a_build_cut_short_does_not_count(empty_cache: Path) -> None:
    def cut_short(folder: Path, log: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    def whole(folder: Path, log: Path) -> None:
        (folder / "whole").touch()

    with pytest.raises(KeyboardInterrupt):
        build_once("thing", cut_short)
    assert not (cache_root() / "thing").exists()
    assert [path.name for path in build_once("thing", whole).iterdir()] == ["whole"]


def test_builders_at_once_build_once(empty_cache: Path) -> None:
    built: list[Path] = []

    def build(folder: Path, log: Path) -> None:
        built.append(folder)
        time.sleep(0.2)

    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(build_once, ["thing"] * 4, [build] * 4))
    assert len(set(folders)) == len(built) == 1
