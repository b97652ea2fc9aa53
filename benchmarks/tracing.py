"""What traces cost: POST to result with spans exported against without, request by request in turn.

python -m benchmarks.tracing            # with export against without
python -m benchmarks.tracing CHECKOUT   # and against the code there, say of before there were any

An embedded stack with a warm consumer of darkroom/echo each; the receiver runs beside them, in
this process, so that its work is in the figures too.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.figures import percentile, show
from benchmarks.journey import CATALOGUE, WARM_UP, Caller
from tests.e2e.stack import Stack, embedded
from tests.otlp import OtlpReceiver

COUNT = 1000


def stack_in(folder: Path, endpoint: str, checkout: str | None = None) -> Stack:
    folder.mkdir()
    catalogue = folder / "model_names.txt"
    catalogue.write_text(CATALOGUE)
    settings = {"DARKROOM_MODEL_NAMES": str(catalogue), "DARKROOM_OTLP_ENDPOINT": endpoint}
    stack = embedded(folder, **settings)
    if checkout is not None:
        stack.environment["PYTHONPATH"] = checkout
    return stack


def compare(name: str, ours: tuple[float, ...], theirs: tuple[float, ...]) -> None:
    p50 = statistics.median(ours) / statistics.median(theirs)
    p99 = percentile(ours, 0.99) / percentile(theirs, 0.99)
    print(f"{name}: ratio p50 {p50:.2f}   ratio p99 {p99:.2f}")


def main() -> None:
    with tempfile.TemporaryDirectory() as name, OtlpReceiver() as receiver:
        folder = Path(name)
        stacks = {
            "without export": stack_in(folder / "off", ""),
            "with export": stack_in(folder / "on", receiver.url),
        }
        for checkout in sys.argv[1:]:
            stacks[checkout] = stack_in(folder / "other", "", checkout)
        try:
            for stack in stacks.values():
                stack.start()
            callers = [Caller(stack, None) for stack in stacks.values()]
            rows = []
            for number in range(WARM_UP + COUNT):
                row = [0.0] * len(callers)
                for turn in range(len(callers)):  # each comes behind each
                    index = (number + turn) % len(callers)
                    row[index] = callers[index].once()
                rows.append(row)
        finally:
            for stack in stacks.values():
                if stack.processes:
                    stack.stop()
        off, on, *others = zip(*rows[WARM_UP:], strict=True)
        for label, seconds in zip(stacks, (off, on, *others), strict=True):
            show(label, seconds)
        compare("with export : without", on, off)
        for other in others:
            compare("without export : the other code", off, other)
        print(f"spans {len(receiver.spans()) / len(rows):.1f} a job")


if __name__ == "__main__":
    main()
