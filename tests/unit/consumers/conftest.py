from __future__ import annotations

import io

import pytest
from PIL import Image


@pytest.fixture
def sample_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(buffer, "JPEG")
    return buffer.getvalue()
