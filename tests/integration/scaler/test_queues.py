"""What the scaler knows of the queues, and how much it asks for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from common.errors import LogUnavailable
from common.job import Priority
from common.job_log import Bounds, JobLog, TopicPartition
from common.topic import consumer_group, job_topic, job_topics
from scaler.observation import Lag
from scaler.queues import ANEW_SECONDS, UNKNOWN, Queue, Queues
from tests.passing_log import PassingLog

pytestmark = pytest.mark.anyio

MODELS = ["o/busy", "o/idle", "o/other"]
NOTHING = Queue(Lag(), 0)


class Asked(PassingLog):
    """Counts the questions about commits, and may be away."""

    def __init__(self, log: JobLog) -> None:
        super().__init__(log)
        self.groups: list[str | None] = []
        self.questions = 0
        self.away: list[str] = []

    async def bounds(self, topics: Mapping[str, str | None]) -> dict[TopicPartition, Bounds]:
        self.questions += 1
        self.groups += sorted(set(topics.values()), key=str)
        if "bounds" in self.away:
            raise LogUnavailable("away")
        return await super().bounds(topics)

    async def ends(self, topics: Sequence[str]) -> dict[str, tuple[int, ...]]:
        if "ends" in self.away:
            raise LogUnavailable("away")
        return await super().ends(topics)


@pytest.fixture
def asked(log: JobLog) -> Asked:
    return Asked(log)


async def append(log: JobLog, model: str, priority: Priority, jobs: int) -> None:
    for number in range(jobs):
        await log.append(job_topic(model, priority), f"{number}", b"", {})


async def finish(log: JobLog, model: str, jobs: int) -> None:
    reader = await log.subscribe(job_topics(model), group=consumer_group(model))
    left = jobs
    while left:
        deliveries = await reader.receive(left, 30.0)
        await reader.acknowledge(*deliveries)
        left -= len(deliveries)
    await reader.close()


async def test_lag_is_by_priority_and_what_is_done_is_counted(asked: Asked) -> None:
    queues = Queues(asked, MODELS)
    assert await queues.look(0.0) == dict.fromkeys(MODELS, NOTHING)
    await append(asked, "o/busy", Priority.HIGH, 1)
    await append(asked, "o/busy", Priority.LOW, 3)
    assert (await queues.look(1.0))["o/busy"] == Queue(Lag(high=1, low=3), 0)
    await finish(asked, "o/busy", 4)
    assert await queues.look(2.0) == {**dict.fromkeys(MODELS, NOTHING), "o/busy": Queue(Lag(), 4)}


async def test_commits_are_asked_for_only_where_something_moves_or_is_left(asked: Asked) -> None:
    queues = Queues(asked, MODELS)
    await queues.look(0.0)
    assert len(asked.groups) == len(MODELS)
    await queues.look(1.0)
    assert len(asked.groups) == len(MODELS)
    await append(asked, "o/busy", Priority.NORMAL, 2)
    asked.groups.clear()
    for second in range(2, 5):
        await queues.look(float(second))
    assert asked.groups == [consumer_group("o/busy")] * 3
    await finish(asked, "o/busy", 2)
    await queues.look(5.0)
    asked.groups.clear()
    await queues.look(6.0)
    assert asked.groups == []


async def test_one_question_a_look_however_many_are_at_work(asked: Asked) -> None:
    queues = Queues(asked, MODELS)
    for model in MODELS:
        await append(asked, model, Priority.NORMAL, 1)
    await queues.look(0.0)
    asked.questions = 0
    found = await queues.look(1.0)
    assert found == dict.fromkeys(MODELS, Queue(Lag(normal=1), 0))
    assert asked.questions == 1


async def test_all_is_asked_anew_from_time_to_time(asked: Asked) -> None:
    queues = Queues(asked, MODELS)
    await queues.look(0.0)
    asked.groups.clear()
    await queues.look(ANEW_SECONDS)
    assert len(asked.groups) == len(MODELS)


async def test_what_does_not_answer_is_unknown_and_never_zero(asked: Asked) -> None:
    queues = Queues(asked, MODELS)
    await queues.look(0.0)
    asked.away = ["ends"]
    assert await queues.look(1.0) == dict.fromkeys(MODELS, UNKNOWN)
    asked.away = ["bounds"]
    await append(asked, "o/busy", Priority.NORMAL, 1)
    assert (await queues.look(2.0))["o/busy"] == UNKNOWN
    asked.away = []
    assert (await queues.look(3.0))["o/busy"] == Queue(Lag(normal=1), 0)
