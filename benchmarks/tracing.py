"""What traces cost: POST to result with spans exported against without, request by request in turn.

python -m benchmarks.tracing

Two embedded stacks with a warm consumer of darkroom/echo each; the receiver runs beside them, in
this process, so that its work is in the figures too.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from benchmarks.figures import percentile, show
from benchmarks.journey import CATALOGUE, WARM_UP, Caller
from tests.e2e.stack import embedded
from tests.otlp import OtlpReceiver

COUNT = 1000


def main() -> None:
    with tempfile.TemporaryDirectory() as name, OtlpReceiver() as receiver:
        folders = [Path(name) / "off", Path(name) / "on"]
        catalogue = Path(name) / "model_names.txt"
        catalogue.write_text(CATALOGUE)
        stacks = []
        for folder, endpoint in zip(folders, ("", receiver.url), strict=True):
            folder.mkdir()
            settings = {"DARKROOM_MODEL_NAMES": str(catalogue), "DARKROOM_OTLP_ENDPOINT": endpoint}
            stacks.append(embedded(folder, **settings))
        try:
            for stack in stacks:
                stack.start()
            callers = [Caller(stack, None) for stack in stacks]
            pairs = [[caller.once() for caller in callers] for _ in range(WARM_UP + COUNT)]
        finally:
            for stack in stacks:
                if stack.processes:
                    stack.stop()
        off, on = zip(*pairs[WARM_UP:], strict=True)
        show("without export", off)
        show("with export", on)
        print(
            f"ratio p50 {statistics.median(on) / statistics.median(off):.2f}   "
            f"ratio p99 {percentile(on, 0.99) / percentile(off, 0.99):.2f}   "
            f"spans {len(receiver.spans()) / len(pairs):.1f} a job"
        )


if __name__ == "__main__":
    main()
