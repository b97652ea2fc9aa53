"""Servers that are gone for a minute, and servers that single processes lose the way to."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from infra.servers import Servers
from tests.faults.gone import without_servers
from tests.faults.partitions import Ways, cut_off
from tests.faults.stack import FaultStack


@pytest.fixture
def killed() -> Iterator[Servers]:
    """Servers that may be killed."""
    with Servers() as own, pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, own.settings()[name])
        yield own


@pytest.fixture
def ways(killed: Servers) -> Iterator[Ways]:
    """To servers that stay, with the keys of the others: this process has one environment."""
    own = Servers()
    own.minio.access_key, own.minio.secret_key = killed.minio.access_key, killed.minio.secret_key
    with ExitStack() as opened:
        ways = opened.enter_context(Ways(own, "api", "recorder", "far"))
        opened.enter_context(own)
        yield ways


@pytest.mark.timeout(900)
def test_servers_that_are_gone_and_ways_that_are_cut_cost_time_and_nothing_else(
    killed: Servers, ways: Ways, tmp_path: Path
) -> None:
    """On two stacks at once: most of it is waiting."""
    stacks = []
    for name, servers in (("gone", killed), ("cut off", ways.own)):
        (tmp_path / name).mkdir()
        settings = servers.settings()
        stacks.append(FaultStack(tmp_path / name, settings, DARKROOM_SWEEP_AFTER_SECONDS="10"))
    with ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(without_servers, stacks[0], killed),
            pool.submit(cut_off, stacks[1], ways),
        ]
    for each in both:
        each.result()
