"""The real application on the embedded stack, with a recorder beside it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from api.recorder import Recorder
from common.settings import Settings
from tests.integration.api.running import Api, running_api


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    names = tmp_path / "model_names.txt"
    names.write_text(
        "darkroom/echo task=echo\n"
        "darkroom/captioner task=image_to_text revision=v2\n"
        "darkroom/painter task=image_to_image\n"
    )
    data = tmp_path / "data"
    return Settings(  # embedded, whatever servers the environment names
        data_dir=data,
        job_log_url=f"sqlite:///{data}/log.sqlite",
        object_store_url=f"file://{data}/objects",
        database_url=f"sqlite+aiosqlite:///{data}/ledger.sqlite",
        model_names=str(names),
        title_model="darkroom/captioner",
    )


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    """Its recorder runs; consumers are played by the tests."""
    async with running_api(settings) as api:
        recording = asyncio.create_task(Recorder(log=api.log, database=api.database).run())
        yield api
        recording.cancel()
        await asyncio.wait({recording})


@pytest.fixture
def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(buffer, "JPEG")
    return buffer.getvalue()
