from __future__ import annotations

import pytest

from cli.kubernetes.servers import servers_of
from common.errors import SettingsInvalid
from common.settings import Settings
from tests.unit.cli.kubernetes.made import CA, SECURED, settings


def test_the_embedded_stack_is_refused_with_all_three_settings() -> None:
    with pytest.raises(SettingsInvalid, match="no pod sees") as refused:
        servers_of(Settings.model_validate({}))
    for name in ("JOB_LOG", "OBJECT_STORE", "DATABASE"):
        assert f"DARKROOM_{name}_URL=" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("job_log_url", "sqlite:////data/log.sqlite"),
        ("object_store_url", "file:///data/objects"),
        ("database_url", "sqlite+aiosqlite:////data/ledger.sqlite"),
    ],
)
def test_one_file_among_servers_is_refused_by_its_name(name: str, url: str) -> None:
    with pytest.raises(SettingsInvalid, match=f"^DARKROOM_{name.upper()}: a file"):
        servers_of(settings(**{name: url}))


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("job_log_url", "kafka://kafka:1,127.0.0.1:2"),
        ("job_log_url", "kafka://[::1]:1"),
        ("object_store_url", "s3://b?endpoint=http://localhost:9000"),
        ("database_url", "postgresql+asyncpg://me:s3cret@127.0.0.1:5432/d"),
    ],
)
def test_a_server_of_this_machine_alone_is_refused(name: str, url: str) -> None:
    with pytest.raises(SettingsInvalid, match=f"DARKROOM_{name.upper()} leads to") as refused:
        servers_of(settings(**{name: url}))
    assert "s3cret" not in str(refused.value)


def test_an_authority_may_be_a_file_that_is_not_here() -> None:
    servers = servers_of(settings(**SECURED))
    assert servers.authorities == {CA: "ca.pem"}
    assert servers.secret_keys[-3:] == ["kafka-username", "kafka-password", "ca.pem"]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("ca.pem", "the whole path"),
        ("/etc/../ca.pem", "the whole path"),
        ("/other/ca.pem", "another file ca.pem"),
    ],
)
def test_an_authority_that_could_not_be_mounted_is_refused(file: str, reason: str) -> None:
    url = f"s3://b?endpoint=https://minio:9000&ca_file={file}"
    with pytest.raises(SettingsInvalid, match=f"DARKROOM_OBJECT_STORE_URL: .*{reason}"):
        servers_of(settings(**SECURED | {"object_store_url": url}))
