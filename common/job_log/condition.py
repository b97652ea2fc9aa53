"""What a job log looks like from outside, for diagnosis: nothing is made, nothing is changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from common.errors import SettingsInvalid


@dataclass(frozen=True, slots=True)
class LogCondition:
    """What answers at the log's address."""

    server: str
    topics: Mapping[str, int]  # partitions of each topic asked for that is there


async def condition_of(url: str, topics: Collection[str]) -> LogCondition:
    """The log at `url`, which is not made if it is missing.

    Raises LogUnavailable, and SettingsInvalid for a URL that makes no sense.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        from common.job_log.sqlite.condition import sqlite_condition

        return LogCondition(*await sqlite_condition(url, topics))
    if scheme == "kafka":
        from common.job_log.kafka.condition import kafka_condition

        return LogCondition(*await kafka_condition(url, topics))
    raise SettingsInvalid(
        f"DARKROOM_JOB_LOG_URL: {url!r} is neither sqlite:///PATH nor kafka://HOST:PORT"
    )
