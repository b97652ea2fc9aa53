"""Start-up and memory on the embedded stack: what a newcomer's machine pays.

python -m benchmarks.footprint
"""

from __future__ import annotations

import io
import tempfile
import time
from pathlib import Path

import httpx2
import psutil

from models.shapes.draw import draw
from tests.e2e.stack import Stack, embedded

MIB = 1024 * 1024
IDLE_SECONDS = 5.0


def listening(stack: Stack) -> bool:
    try:
        return httpx2.get(f"{stack.url}/livez", trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


def api_start(folder: Path) -> float:
    """Seconds from the start of `python -m api serve` to its first answer."""
    stack = embedded(folder)
    stack.programs = ()
    began = time.perf_counter()
    stack.spawn(("api", "serve"))
    while not listening(stack):
        time.sleep(0.01)
    seconds = time.perf_counter() - began
    stack.stop()
    return seconds


def has_torch(process: psutil.Process) -> bool:
    return any("libtorch" in region.path for region in process.memory_maps())


def report(stack: Stack, name: str, *ending: str) -> None:
    found = [p for p in stack.members() if " ".join(ending) in " ".join(p.cmdline())]
    for process in found:
        print(
            f"{name:<22} {process.memory_info().rss / MIB:6.1f} MiB resident, "
            f"torch {'loaded' if has_torch(process) else 'not loaded'}"
        )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        starts = [api_start(folder) for _ in range(5)]
        print(f"API accepts after      {', '.join(f'{s:.2f}' for s in starts)} s (first: new data)")
        image, caption = draw(1)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        fresh = Path(name) / "fresh"
        fresh.mkdir()
        stack = embedded(fresh)
        began = time.perf_counter()
        stack.start()
        ready = time.perf_counter() - began
        job = stack.submit(buffer.getvalue(), "darkroom/shapes")
        assert stack.ended(job["id"])["output"] == caption
        print(
            f"darkroom up            ready after {ready:.1f} s, first caption after "
            f"{time.perf_counter() - began:.1f} s"
        )
        time.sleep(IDLE_SECONDS)
        report(stack, "API", "-m", "api", "serve")
        report(stack, "recorder", "-m", "api", "record")
        report(stack, "scaler", "-m", "scaler")
        report(stack, "consumer's parent", "-m", "consumers", "darkroom/shapes")
        report(stack, "engine of shapes", "-m", "consumers.engine_main")
        stack.stop()


if __name__ == "__main__":
    main()
