"""What every test may ask for: the event loop's flavour and, on request, real servers."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
