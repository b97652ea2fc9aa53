"""A cluster as it answers now, asked without making any topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from common.job_log.kafka.broker import Broker, TopicPlan, translated
from common.job_log.kafka.cluster import cluster_of


async def kafka_condition(url: str, topics: Collection[str]) -> tuple[str, dict[str, int]]:
    """What answers, and the partitions of those topics that are there.

    Kafka's protocol does not tell the version of a broker. Raises LogUnavailable, SettingsInvalid.
    """
    cluster = cluster_of(url)
    broker = Broker(cluster, _none_is_made)
    wire = [cluster.wire(topic) for topic in topics]
    try:
        with translated(f"asking {', '.join(cluster.servers)}"):
            await broker.connect()
            await broker.missing(wire)
    finally:
        await broker.close()
    counts = Counter(cluster.plain(one.topic) for one in broker.partitions(wire))
    return f"Kafka, cluster {broker.cluster_id}", dict(counts)


def _none_is_made(topic: str) -> TopicPlan:
    raise AssertionError(f"{topic} must not be made")
