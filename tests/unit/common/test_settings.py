from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from common.errors import SettingsInvalid
from common.settings import PROJECT, Settings, read_settings


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without settings."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DARKROOM_{name.upper()}", raising=False)


def test_without_settings_everything_is_embedded_below_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    settings = read_settings()

    assert settings.log_url == f"sqlite:///{tmp_path}/data/log.sqlite"
    assert settings.store_url == f"file://{tmp_path}/data/objects"
    assert settings.ledger_url == f"sqlite+aiosqlite:///{tmp_path}/data/ledger.sqlite"
    assert settings.catalogue_file == PROJECT / "model_names.txt"
    assert settings.host == "127.0.0.1"


def test_the_environment_moves_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_DATA_DIR", str(tmp_path / "elsewhere"))

    assert read_settings().log_url == f"sqlite:///{tmp_path}/elsewhere/log.sqlite"


def test_named_servers_are_used_as_they_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = {
        "DARKROOM_JOB_LOG_URL": "kafka://one:9092,two:9092?prefix=x.",
        "DARKROOM_OBJECT_STORE_URL": "s3://bucket?endpoint=http://host:9000",
        "DARKROOM_DATABASE_URL": "postgresql+asyncpg://me@host/db",
    }
    for name, url in urls.items():
        monkeypatch.setenv(name, url)

    settings = read_settings()

    assert [settings.log_url, settings.store_url, settings.ledger_url] == list(urls.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DARKROOM_PORT", "eighty"),
        ("DARKROOM_PORT", "65536"),
        ("DARKROOM_SLOTS", "0"),
        ("DARKROOM_COOLDOWN_SECONDS", "-1"),
        ("DARKROOM_SWEEP_SECONDS", "nan"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named_with_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsInvalid, match=f"{name}='{value}': Input should be"):
        read_settings()


def test_settings_never_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read_settings().port = 1  # type: ignore[misc]


def test_a_file_of_settings_is_read_and_the_environment_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "apps.env"
    file.write_text(
        "DARKROOM_PORT=8123\n# DARKROOM_SLOTS=9\nDARKROOM_COOLDOWN_SECONDS=7\nOTHER=1\n"
    )
    monkeypatch.setenv("DARKROOM_COOLDOWN_SECONDS", "8")

    settings = read_settings(file)

    assert (settings.port, settings.slots, settings.cooldown_seconds) == (8123, 4, 8.0)


def test_a_data_folder_that_no_url_can_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_DATA_DIR", "what?")
    with pytest.raises(SettingsInvalid, match="DARKROOM_DATA_DIR"):
        read_settings()
