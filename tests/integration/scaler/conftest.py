"""A job log of either kind, which consumers that are started here find too."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.job_log import JobLog, open_job_log
from common.scaling import SCALING_KEY, ScalingSettings
from common.topic import CONTROL
from common.wire import HEADERS, encode

ECHO = "darkroom/echo"


async def tell(log: JobLog, settings: ScalingSettings) -> None:
    """Tell scalers what was changed while they run."""
    await log.append(CONTROL, SCALING_KEY, encode(settings), HEADERS)


@pytest.fixture(params=["embedded", "servers"])
async def log(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[JobLog]:
    """Where consumers that are started here look for work, too."""
    (tmp_path / "model_names.txt").write_text(f"{ECHO} task=echo\n")
    monkeypatch.setenv("DARKROOM_MODEL_NAMES", str(tmp_path / "model_names.txt"))
    monkeypatch.setenv("DARKROOM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DARKROOM_OBJECT_STORE_URL", f"file://{tmp_path}/objects")
    url = f"sqlite:///{tmp_path}/log.sqlite"
    if request.param == "servers":
        kafka = request.getfixturevalue("servers")["DARKROOM_JOB_LOG_URL"]
        url = f"{kafka}?prefix=s{secrets.token_hex(6)}."
    monkeypatch.setenv("DARKROOM_JOB_LOG_URL", url)
    opened = await open_job_log(url, partitions=8)
    await tell(opened, ScalingSettings(revision=0))  # as a recorder answers
    yield opened
    await opened.close()
