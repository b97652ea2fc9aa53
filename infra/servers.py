"""The three servers together, and the settings under which Darkroom finds them."""

import json
import os
import secrets
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from infra.errors import ServerFailed, ToolFailed
from infra.kafka import Kafka
from infra.minio import Minio
from infra.ports import free_ports
from infra.postgres import DATABASE, ROLE, Postgres
from infra.prometheus_server import Prometheus
from infra.server import Server
from infra.tools import Tool, require

BUCKET = "darkroom"
KINDS: tuple[type[Server], ...] = (Kafka, Minio, Postgres, Prometheus)


def install(*more: Tool) -> None:
    """Install and build what is missing, minutes the first time.

    MissingTools if an administrator must act first, ToolFailed if a download or build fails.
    """
    require([*(tool for kind in KINDS for tool in kind.tools()), *more])
    for kind in KINDS:
        kind.install()


@dataclass(frozen=True)
class _Plan:
    """What stays the same for the life of a folder: ports and the object store's keys."""

    kafka: int
    controller: int
    minio: int
    postgres: int
    access_key: str
    secret_key: str


def _plan_of(directory: Path) -> _Plan:
    """The folder's plan, made on first use. Kafka's data name its ports, so they may not move."""
    path = directory / "plan.json"
    if path.exists():
        return _Plan(**json.loads(path.read_text(encoding="utf-8")))
    kafka, controller, minio, postgres = free_ports(4)
    keys = secrets.token_hex(10), secrets.token_hex(20)
    plan = _Plan(kafka, controller, minio, postgres, *keys)
    path.touch(mode=0o600)
    path.write_text(json.dumps(asdict(plan)), encoding="utf-8")
    return plan


class Servers:
    """Kafka, MinIO and Postgres in one folder: a context manager that starts and stops them.

    Without `directory` they live in a temporary folder, which goes when they stop for good;
    with it, ports, keys and data are kept there for the next time.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._temporary = directory is None
        if directory is None:
            directory = Path(tempfile.mkdtemp(prefix="darkroom-servers-"))
        self.directory = directory.resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            # Postgres runs as another user and must be able to pass through.
            self.directory.chmod(0o711)
        plan = _plan_of(self.directory)
        self.kafka = Kafka(self.directory / "kafka", plan.kafka, plan.controller)
        keys = plan.access_key, plan.secret_key
        self.minio = Minio(self.directory / "minio", plan.minio, *keys)
        self.postgres = Postgres(self.directory / "postgres", plan.postgres)

    @property
    def all(self) -> tuple[Server, ...]:
        """Kafka, MinIO and Postgres."""
        return self.kafka, self.minio, self.postgres

    def start(self) -> None:
        """Install what is missing, start all three at once and wait until each answers.

        If one fails, the others are stopped. Errors as of `install` and `Server.start`.
        """
        try:
            install()
            with ThreadPoolExecutor(len(self.all)) as pool:
                list(pool.map(lambda server: server.start(), self.all))
        except BaseException as error:
            self.stop(keep_logs=isinstance(error, ServerFailed | ToolFailed))
            raise

    def stop(self, *, keep_logs: bool = False) -> None:
        """Stop all three for good, and remove a temporary folder but for logs that are to stay."""
        # In order it takes half a minute for Kafka's thousands of partitions alone.
        end = Server.discard if self._temporary else Server.stop
        with ThreadPoolExecutor(len(self.all)) as pool:
            list(pool.map(lambda server: end(server), self.all))
        if self._temporary and keep_logs:
            for server in self.all:
                shutil.rmtree(server.data, ignore_errors=True)
        elif self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def check(self) -> None:
        """ServerFailed if one of the servers has ended by itself."""
        for server in self.all:
            if not server.running:
                raise ServerFailed(server.name, "ended", server.log)

    def settings(self) -> dict[str, str]:
        """The environment variables by which Darkroom and S3 clients find these servers."""
        return {
            "DARKROOM_JOB_LOG_URL": f"kafka://{self.kafka.address}",
            "DARKROOM_OBJECT_STORE_URL": f"s3://{BUCKET}?endpoint=http://{self.minio.address}",
            "DARKROOM_DATABASE_URL": (
                f"postgresql+asyncpg://{ROLE}@{self.postgres.address}/{DATABASE}"
            ),
            "AWS_ACCESS_KEY_ID": self.minio.access_key,
            "AWS_SECRET_ACCESS_KEY": self.minio.secret_key,
        }

    def __enter__(self) -> "Servers":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(keep_logs=isinstance(error, ServerFailed | ToolFailed))
