"""Many processes crash in one run, each point many times: promises 1, 2, 3 and 9 hold."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.crash_points import POINTS
from tests.faults.asking import Asking
from tests.faults.crashing import SETTINGS, Crashing, excused, write_catalogue
from tests.faults.stack import FaultStack

SERVERS, EMBEDDED = (pytest.param((kind, 10), id=kind) for kind in ("servers", "embedded"))


# On the embedded stack test_points.py kills at each point once, and the soak at chance.
@pytest.fixture(params=[SERVERS, EMBEDDED] if os.environ.get("SOAK") else [SERVERS])
def crashing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Crashing, int]]:
    """Ready to start, and how often each point is to be hit."""
    kind, wanted = request.param
    servers = request.getfixturevalue("servers") if kind == "servers" else None
    catalogue, models = write_catalogue(tmp_path, 6)
    settings: dict[str, Any] = {**SETTINGS, "DARKROOM_MODEL_NAMES": str(catalogue)}
    with FaultStack(tmp_path, servers, **settings) as stack:
        yield Crashing(stack, wanted=wanted, models=models, consumers=1), wanted


@pytest.mark.timeout(1800)
def test_crashes_at_every_point_lose_nothing_and_show_nothing_twice(
    crashing: tuple[Crashing, int],
) -> None:
    run, wanted = crashing
    stack = run.stack
    run.start()
    asking = Asking(webhook=stack.receiver.url, models=run.models)
    with stack.load(asking, rate=12, cancel=0.03) as load:
        seconds = run.run(1500, door_seconds=60, work_seconds=150)
    run.calm()
    quiet = stack.quiet()
    verdict = stack.check()
    print(f"{seconds:.0f} s, quiet after {quiet:.0f} s: {verdict}")
    print(f"longest recovery {stack.longest_recovery():.1f} s", dict(run.hits), dict(load.counts))
    assert verdict.sound, verdict
    assert not load.unexpected
    assert excused(verdict), verdict
    assert verdict.ends["canceled"] > 0
    assert {point: run.hits[point] for point in POINTS if run.hits[point] < wanted} == {}
    assert load.counts["replayed"] > 0  # a reply that was lost was asked for again
