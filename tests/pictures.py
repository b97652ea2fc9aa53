"""Pictures that tests send."""

from __future__ import annotations

import io

from PIL import Image


def plain_png(width: int, height: int = 16) -> bytes:
    """One of this size, of one colour that the width gives."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (width % 256, 90, 120)).save(buffer, "PNG")
    return buffer.getvalue()
