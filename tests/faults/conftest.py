"""Both stacks at once: most of a fault's minutes are spent waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import pytest

from infra.kafka import Kafka
from tests.brokers import own_kafka
from tests.faults.stack import FaultStack

Fault = Callable[[FaultStack], None]


class OnBoth(Protocol):
    """Puts a fault to the embedded stack and, meanwhile, to the one on servers."""

    def __call__(self, fault: Fault, **settings: Any) -> None: ...


@pytest.fixture
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker of our own; its log says when a group rebalances."""
    with own_kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture
def on_both(tmp_path: Path, servers: dict[str, str]) -> OnBoth:
    def run(fault: Fault, **settings: Any) -> None:
        stacks = []
        for name, found in (("embedded", None), ("servers", servers)):
            folder = tmp_path / name
            folder.mkdir()
            stacks.append(FaultStack(folder, found, **settings))
        with ThreadPoolExecutor(len(stacks)) as pool:
            attacked = [pool.submit(_attack, stack, fault) for stack in stacks]
        failures = [error for each in attacked if (error := each.exception())]
        if failures:
            raise failures[0]

    return run


def _attack(stack: FaultStack, fault: Fault) -> None:
    try:
        with stack:
            fault(stack)
    except BaseException as error:
        error.add_note(f"on the stack in {stack.folder}")
        raise
