"""How far the ledger has got with what the log was told."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

from api.recorder import GROUP
from common.job_log import JobLog, TopicPartition
from common.topic import EVENTS

_MOST_SEEN = 100


class RecorderProgress:
    """Asked again and again, it answers with ever later moments while the recorder works.

    Never waits, and is not starved by a recorder that is always a little behind: it remembers the
    ends of `events` that it saw, until the recorder has passed them.
    """

    def __init__(self, log: JobLog) -> None:
        self._log = log
        self._reached = 0.0
        self._seen: deque[tuple[float, Mapping[TopicPartition, int]]] = deque()  # when, and ends

    async def reached(self) -> float:
        """What was appended before that time is in the ledger; 0 while nothing is known.

        In seconds since the epoch. Raises LogUnavailable.
        """
        at = time.time()
        bounds = await self._log.bounds({EVENTS: GROUP})
        ends = {partition: each.end for partition, each in bounds.items()}
        committed = {partition: each.committed for partition, each in bounds.items()}
        if self._seen and not _passed(ends, self._seen[-1][1]):  # the log was wiped
            self._seen.clear()
        if len(self._seen) < _MOST_SEEN:
            self._seen.append((at, ends))
        while self._seen and _passed(committed, self._seen[0][1]):
            self._reached, _ = self._seen.popleft()
        return self._reached


def _passed(now: Mapping[TopicPartition, int], then: Mapping[TopicPartition, int]) -> bool:
    return all(now.get(partition, 0) >= offset for partition, offset in then.items())
