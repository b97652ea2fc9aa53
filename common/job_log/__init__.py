"""The job log: `open_job_log` picks the adapter by the URL's scheme."""

from __future__ import annotations

from urllib.parse import urlsplit

from common.errors import SettingsInvalid
from common.job_log.base import (
    Bounds,
    Delivery,
    JobLog,
    Position,
    Start,
    Subscription,
    TopicPartition,
)
from common.server_url import shown

__all__ = [
    "Bounds",
    "Delivery",
    "JobLog",
    "Position",
    "Start",
    "Subscription",
    "TopicPartition",
    "open_job_log",
]


async def open_job_log(url: str, *, partitions: int = 4) -> JobLog:
    """The log at `url`: `sqlite:///PATH` or `kafka://[USER:PASSWORD@]HOST:PORT[,HOST:PORT][?…]`.

    `partitions` is how many a shared topic gets when it is made. Raises LogUnavailable, and
    SettingsInvalid for a URL that makes no sense.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        from common.job_log.sqlite.log import SqliteJobLog

        return await SqliteJobLog.open(url)
    if scheme == "kafka":
        from common.job_log.kafka.log import KafkaJobLog

        return await KafkaJobLog.open(url, partitions=partitions)
    raise SettingsInvalid(
        f"DARKROOM_JOB_LOG_URL: {shown(url)!r} is neither sqlite:///PATH nor kafka://HOST:PORT"
    )
