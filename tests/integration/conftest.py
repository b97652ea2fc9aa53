from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from PIL import Image


@pytest.fixture
def png() -> Callable[[int], bytes]:
    """A PNG so many pixels wide."""

    def draw(width: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (width, 8), "teal").save(buffer, "PNG")
        return buffer.getvalue()

    return draw
