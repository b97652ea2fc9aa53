"""`make soak`: crashes at every point and random kills under mixed load, for hours.

It ends when each point was hit SOAK_HITS times (300), or after SOAK_SECONDS (7200). What it prints
at the end is a table for benchmarks/RESULTS.md. The exit code is 0 if the checker found nothing.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from common.crash_points import POINTS
from infra.servers import Servers
from tests.conftest import KEYS, SETTINGS
from tests.faults.asking import ECHO, SHAPES, Asking
from tests.faults.checker import Verdict
from tests.faults.crashing import SETTINGS as SHORT_TIMES
from tests.faults.crashing import Crashing, excused, write_catalogue
from tests.faults.killing import Killing
from tests.faults.stack import FaultStack

HITS = int(os.environ.get("SOAK_HITS", "300"))
SECONDS = float(os.environ.get("SOAK_SECONDS", "7200"))
KILL_EVERY = float(os.environ.get("SOAK_KILL_EVERY", "8"))  # seconds
DOOR_SECONDS, WORK_SECONDS = 120.0, 300.0
RATE = 12.0  # requests a second


def main() -> int:
    """Keeps its folder if something was wrong."""
    with ExitStack() as opened:
        servers = _servers(opened)
        folder = Path(tempfile.mkdtemp(prefix="darkroom-soak-"))
        catalogue, models = write_catalogue(folder, 3)
        settings: dict[str, Any] = {**SHORT_TIMES, "DARKROOM_MODEL_NAMES": str(catalogue)}
        stack = opened.enter_context(FaultStack(folder, servers, **settings))
        return _run(stack, models)


def _run(stack: FaultStack, models: tuple[str, ...]) -> int:
    crashing = Crashing(stack, wanted=HITS, models=models, each=3, consumers=3)
    slots = str(len(models) + 2)  # the scaler starts consumers for every model that has work
    crashing.add_worker(stack.scaler(DARKROOM_SLOTS=slots, DARKROOM_LOG_LEVEL="info"))
    killing = Killing(stack.supervisor, KILL_EVERY)
    crashing.start()
    asking = Asking(
        models=(*models, *models, ECHO, SHAPES),
        priorities=("high", "normal", "normal", "low"),
        webhook=stack.receiver.url,
    )
    with stack.load(asking, rate=RATE, cancel=0.03) as load:
        seconds = crashing.run(
            SECONDS,
            door_seconds=DOOR_SECONDS,
            work_seconds=WORK_SECONDS,
            meanwhile=killing.look,
        )
    crashing.calm()
    quiet = stack.quiet()
    verdict = stack.check()
    print(table(crashing, killing, verdict, seconds, quiet, stack.longest_recovery()))
    print(verdict, dict(load.counts), *load.unexpected[:20], sep="\n")
    print(f"what it left: {stack.folder}")
    return 0 if verdict.sound and excused(verdict) and not load.unexpected else 1


def table(
    crashing: Crashing,
    killing: Killing,
    verdict: Verdict,
    seconds: float,
    quiet: float,
    recovery: float,
) -> str:
    """Rows of Markdown."""
    hits = [crashing.hits[point] for point in POINTS]
    rows = {
        "minutes under fault": f"{seconds / 60:.0f}",
        "crashes at named points": f"{sum(hits)}, of each of the {len(POINTS)} {min(hits)} or more",
        **{f"... {point}": str(crashing.hits[point]) for point in POINTS},
        "random kills": str(killing.kills.total()),
        **{f"... {kind}": str(count) for kind, count in sorted(killing.kills.items())},
        "accepted": str(verdict.accepted),
        "how they ended": ", ".join(f"{n} {end}" for end, n in verdict.ends.most_common()),
        "webhooks received": str(verdict.letters),
        "lost": str(len(verdict.lost)),
        "shown twice": str(len(verdict.duplicate)),
        "forged": str(len(verdict.forged)),
        "not told": str(len(verdict.untold)),
        "objects missing": str(len(verdict.missing)),
        "longest recovery: from a crash or kill to the next end of a job": f"{recovery:.1f} s",
        "slowest job, from acceptance to its end": f"{verdict.longest_seconds:.1f} s",
        "all ended and told after the last fault": f"{quiet:.0f} s",
    }
    return "\n".join(["| soak | |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows.items())])


def _servers(opened: ExitStack) -> Mapping[str, str]:
    """The caller's own, or ones that live as long as the soak."""
    if all(os.environ.get(name) for name in SETTINGS):
        return {name: os.environ[name] for name in (*SETTINGS, *KEYS) if name in os.environ}
    settings = opened.enter_context(Servers()).settings()
    os.environ.update({name: settings[name] for name in KEYS})  # where the checker reads them
    return settings


if __name__ == "__main__":
    sys.exit(main())
