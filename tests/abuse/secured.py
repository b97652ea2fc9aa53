"""Kafka, MinIO and Postgres of one's own that ask for passwords, and the passwords."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra import kafka, postgres
from infra.minio import Minio
from infra.ports import free_ports
from infra.server import Server
from tests.certificates import certified

USER = postgres.ROLE


@dataclass(frozen=True)
class Secured:
    """What answers only to who has its password."""

    kafka: kafka.Kafka
    minio: Minio
    postgres: postgres.Postgres
    authority: Path  # of their certificates, PEM
    passwords: dict[str, str]  # by their server

    @property
    def settings(self) -> dict[str, str]:
        """The environment by which Darkroom finds them."""
        assert self.kafka.secure is not None
        broker = f"127.0.0.1:{self.kafka.secure.port}"
        login = f"{USER}:{self.passwords['kafka']}"
        ledger = f"{USER}:{self.passwords['postgres']}@{self.postgres.address}/{postgres.DATABASE}"
        return {
            "DARKROOM_JOB_LOG_URL": f"kafka://{login}@{broker}?security_protocol=SASL_SSL"
            f"&sasl_mechanism=SCRAM-SHA-512&ssl_cafile={self.authority}",
            "DARKROOM_OBJECT_STORE_URL": f"s3://canaries?endpoint=http://{self.minio.address}",
            "DARKROOM_DATABASE_URL": f"postgresql+asyncpg://{ledger}?sslrootcert={self.authority}",
            "AWS_ACCESS_KEY_ID": self.minio.access_key,
            "AWS_SECRET_ACCESS_KEY": self.minio.secret_key,
        }


@contextmanager
def secured_servers() -> Iterator[Secured]:
    """Started, with passwords that nobody had before; stopped and gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="darkroom-canaries-"))
    folder.chmod(0o711)  # Postgres runs as another user and must be able to pass through
    made = certified(folder, "127.0.0.1")
    keystore = folder / "keystore.pem"
    keystore.write_bytes(made.key.read_bytes() + made.certificate.read_bytes())
    passwords = {name: secrets.token_hex(20) for name in ("kafka", "minio", "postgres")}
    plain, controller, secure, store, ledger = free_ports(5)
    login = kafka.Secure(secure, USER, passwords["kafka"], keystore)
    servers = Secured(
        kafka=kafka.Kafka(folder / "kafka", plain, controller, login),
        minio=Minio(folder / "minio", store, secrets.token_hex(10), passwords["minio"]),
        postgres=postgres.Postgres(
            folder / "postgres",
            ledger,
            postgres.Secure(passwords["postgres"], made.certificate, made.key),
        ),
        authority=made.authority,
        passwords=passwords,
    )
    every: tuple[Server, ...] = (servers.kafka, servers.minio, servers.postgres)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for server in every:
            server.install()
            stack.callback(server.stop)
        with ThreadPoolExecutor(len(every)) as pool:
            list(pool.map(lambda server: server.start(), every))
        yield servers
