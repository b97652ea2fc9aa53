"""Figures from samples, printed the same way by every benchmark."""

from __future__ import annotations

import io
import statistics
from collections.abc import Sequence

from PIL import Image


def percentile(samples: Sequence[float], part: float) -> float:
    """The sample below which `part` (0 to 1) of all lie."""
    ordered = sorted(samples)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)]


def show(name: str, samples: Sequence[float]) -> None:
    """Milliseconds, of samples in seconds."""
    print(
        f"{name:<28} n={len(samples):<5} p50={1e3 * statistics.median(samples):7.1f} ms   "
        f"p99={1e3 * percentile(samples, 0.99):7.1f} ms",
        flush=True,
    )


def jpeg(kilobytes: int) -> bytes:
    """A picture of noise whose JPEG has about so many kilobytes (1,000 bytes)."""
    side = 64
    while True:
        buffer = io.BytesIO()
        Image.effect_noise((side, side), 90).convert("RGB").save(buffer, "JPEG", quality=90)
        if buffer.tell() >= 1000 * kilobytes:
            return buffer.getvalue()
        side += 8
