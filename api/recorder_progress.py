"""How far the ledger has got with what the log was told."""

from __future__ import annotations

import time
from collections.abc import Mapping

from api.recorder import GROUP
from common.job_log import JobLog, TopicPartition
from common.topic import EVENTS


class RecorderProgress:
    """Asked again and again, it answers with ever later moments while the recorder works.

    Never waits, and is not starved by a recorder that is always a little behind: it remembers the
    ends of `events` that it saw, until the recorder has passed them.
    """

    def __init__(self, log: JobLog) -> None:
        self._log = log
        self._reached = 0.0
        self._seen_at = 0.0
        self._seen: Mapping[TopicPartition, int] | None = None  # ends of `events`, at that time

    async def reached(self) -> float:
        """What was appended before that time is in the ledger; 0 while nothing is known.

        In seconds since the epoch. Raises LogUnavailable.
        """
        at = time.time()
        bounds = await self._log.bounds([EVENTS], group=GROUP)
        ends = {partition: each.end for partition, each in bounds.items()}
        committed = {partition: each.committed for partition, each in bounds.items()}
        if _passed(committed, ends):
            self._reached, self._seen = at, None
        elif self._seen is None or not _passed(ends, self._seen):  # the latter: it was wiped
            self._seen_at, self._seen = at, ends
        elif _passed(committed, self._seen):
            self._reached = self._seen_at
            self._seen_at, self._seen = at, ends
        return self._reached


def _passed(now: Mapping[TopicPartition, int], then: Mapping[TopicPartition, int]) -> bool:
    return all(now.get(partition, 0) >= offset for partition, offset in then.items())
