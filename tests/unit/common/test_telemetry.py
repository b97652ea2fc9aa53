from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import stamina
import structlog

from common.errors import StoreUnavailable
from common.outage import until_available
from common.telemetry import configure_logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """What configure_logs changes is the whole process's."""
    handlers, level = logging.root.handlers[:], logging.root.level
    hooks = stamina.instrumentation.get_on_retry_hooks()
    yield
    logging.root.handlers[:], logging.root.level = handlers, level
    logging.captureWarnings(False)
    stamina.instrumentation.set_on_retry_hooks(hooks)
    structlog.reset_defaults()


@pytest.mark.anyio
async def test_waiting_for_a_dependency_logs_no_arguments(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("info")
    calls = 0

    async def open_store(url: str, *, password: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise StoreUnavailable("it is away")

    await until_available(open_store, "s3://me:s3cret@host", password="s3cret")

    logged = capsys.readouterr().err
    assert "it is away" in logged
    assert "s3cret" not in logged
