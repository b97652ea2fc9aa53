"""A Kafka of a test's own, which may be stopped, restarted and wiped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.kafka import Kafka
from infra.ports import free_ports


@contextmanager
def own_kafka(folder: Path) -> Iterator[Kafka]:
    port, controller = free_ports(2)
    broker = Kafka(folder, port, controller)
    broker.start()
    yield broker
    broker.stop()
