from __future__ import annotations

from pathlib import Path

import pytest

from api.database.database import Database
from common.errors import SettingsInvalid
from common.job_log import open_job_log
from common.job_log.kafka.cluster import cluster_of
from common.object_store import open_object_store
from common.server_url import shown

pytestmark = pytest.mark.anyio

SECURE = "security_protocol=SASL_SSL"


def test_a_kafka_url_is_read_with_its_password_decoded() -> None:
    cluster = cluster_of(f"kafka://me:p%40s%2Fs@a:1,b:2?{SECURE}&prefix=x.&sasl_mechanism=PLAIN")

    options = cluster.options()

    assert options["bootstrap_servers"] == ["a:1", "b:2"]
    assert options["sasl_plain_username"] == "me"
    assert options["sasl_plain_password"] == "p@s/s"
    assert options["sasl_mechanism"] == "PLAIN"
    assert options["ssl_context"].check_hostname


def test_the_password_is_not_in_what_a_cluster_prints() -> None:
    assert "s3cret" not in repr(cluster_of(f"kafka://me:s3cret@a:1?{SECURE}"))


@pytest.mark.parametrize(
    "url",
    [
        "kafka://",
        "kafka://me:s3cret@a:1",
        "kafka://me:s3cret@a:1?security_protocol=SSL",
        f"kafka://a:1?{SECURE}",
        f"kafka://me@a:1?{SECURE}",
        f"kafka://:s3cret@a:1?{SECURE}",
        f"kafka://me:s3cret@a:1?{SECURE}&sasl_mechanism=GSSAPI",
        f"kafka://me:s3cret@a:1?{SECURE}&colour=red",
        f"kafka://me:s3cret@a:1?{SECURE}&ssl_cafile=/no/such/file.pem",
        f"kafka://me:s3cret/x@a:1?{SECURE}",
        f"kafka://me:s3cret#x@a:1?{SECURE}",
        f"kafka://me:s3cret?x@a:1?{SECURE}",
        "kafka://a:1?ssl_cafile=/etc/hosts",
        "kafka://a:1?security_protocol=TLS",
        "rabbit://me:s3cret@a:1",
    ],
)
async def test_a_log_url_that_makes_no_sense_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="DARKROOM_JOB_LOG_URL") as refused:
        await open_job_log(url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "s3://me:s3cret@bucket?endpoint=http://h:1",
        "s3://bucket?endpoint=http://me:s3cret@h:1",
        "s3://bucket?endpoint=https://h:1&ca_file=/no/such/file.pem",
        "gs://me:s3cret@bucket",
    ],
)
async def test_a_store_url_that_makes_no_sense_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="DARKROOM_OBJECT_STORE_URL") as refused:
        await open_object_store(url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://me:s3cret@h/d?ssl=always",
        "postgresql+asyncpg://me:s3cret@h/d?ssl=require&sslrootcert=/etc/hosts",
        "postgresql+asyncpg://me:s3cret@h/d?sslrootcert=/no/such/file.pem",
        "mysql://me:s3cret@h/d",
        "me:s3cret@h",
    ],
)
async def test_a_ledger_url_that_makes_no_sense_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="DARKROOM_DATABASE_URL") as refused:
        await Database.open(url)
    assert "s3cret" not in str(refused.value)


def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    with pytest.raises(SettingsInvalid, match=r"empty\.pem"):
        cluster_of(f"kafka://me:s3cret@a:1?{SECURE}&ssl_cafile={empty}")


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("kafka://me:s3cret@a:1?x=y", "kafka://***@a:1?x=y"),
        ("kafka://me:s3@cr/et@a:1", "kafka://***@a:1"),
        ("kafka://a:1", "kafka://a:1"),
    ],
)
def test_a_url_is_shown_without_its_user_and_password(url: str, seen: str) -> None:
    assert shown(url) == seen
