"""What a log says of its bounds."""

from __future__ import annotations

import pytest

from common.job_log import Bounds, JobLog
from common.topic import job_groups
from tests.contract.job_log.steps import append, collect, lag, partition_of

pytestmark = pytest.mark.anyio


async def test_bounds_of_a_topic_that_nobody_named_are_zero(log: JobLog) -> None:
    for group in ("g", None):
        bounds = await log.bounds(dict.fromkeys(["jobs.new.high", "jobs.new.low"], group))

        assert {partition.topic for partition in bounds} == {"jobs.new.high", "jobs.new.low"}
        assert set(bounds.values()) == {Bounds(start=0, committed=0, end=0)}


async def test_without_a_commit_the_lag_counts_from_the_start(log: JobLog) -> None:
    positions = await append(log, "jobs.m.normal", 4, key="k")

    for group in ("g", None):
        bounds = await partition_of(log, positions[0], group)
        assert bounds == Bounds(start=0, committed=0, end=4)
        assert bounds.lag == 4


async def test_work_in_hand_counts_as_lag(log: JobLog) -> None:
    await append(log, "jobs.m.normal", 4, key="k")
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g")
    held = await collect(subscription, 4)
    assert await lag(log, "jobs.m.normal", "g") == 4

    await subscription.acknowledge(held[0])

    assert await lag(log, "jobs.m.normal", "g") == 3
    await subscription.close()


async def test_bounds_of_one_group_say_nothing_of_another(log: JobLog) -> None:
    await append(log, "jobs.m.normal", 3)
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="one")
    await subscription.acknowledge(*await collect(subscription, 3))

    assert await lag(log, "jobs.m.normal", "one") == 0
    assert await lag(log, "jobs.m.normal", "two") == 3
    await subscription.close()


async def test_one_question_may_be_of_many_groups(log: JobLog) -> None:
    topics = {"jobs.a.normal": "one", "jobs.b.normal": "two", "jobs.c.normal": None}
    for topic, group in topics.items():
        await append(log, topic, 3)
        subscription = await log.subscribe({topic: 1}, group=group or "three")
        await subscription.acknowledge(*await collect(subscription, 3))
        await subscription.close()

    bounds = await log.bounds({**topics, "jobs.a.normal": "two"})

    lags = {topic: sum(bounds[p].lag for p in bounds if p.topic == topic) for topic in topics}
    assert lags == {"jobs.a.normal": 3, "jobs.b.normal": 0, "jobs.c.normal": 3}


async def test_the_end_passes_each_position_that_append_returned(log: JobLog) -> None:
    for position in await append(log, "jobs.m.normal", 10):
        assert (await partition_of(log, position, None)).end > position.offset


async def test_all_topics_of_many_new_models_are_in_the_answer(log: JobLog) -> None:
    """More than are made at once."""
    groups = job_groups(*(f"owner/new-{number}" for number in range(16)))
    bounds = await log.bounds(groups)
    assert {partition.topic for partition in bounds} == groups.keys()


async def test_the_ends_are_those_of_the_bounds(log: JobLog) -> None:
    topics = ["jobs.m.high", "jobs.m.normal", "jobs.new.low"]
    await append(log, topics[0], 3)
    await append(log, topics[1], 5)

    bounds = await log.bounds(dict.fromkeys(topics, None))
    expected = {
        topic: tuple(bounds[each].end for each in sorted(bounds) if each.topic == topic)
        for topic in topics
    }
    assert await log.ends(topics) == expected
    assert [sum(expected[topic]) for topic in topics] == [3, 5, 0]


async def test_the_ends_are_new_at_each_look(log: JobLog) -> None:
    assert sum((await log.ends(["jobs.m.normal"]))["jobs.m.normal"]) == 0

    await append(log, "jobs.m.normal", 2)

    assert sum((await log.ends(["jobs.m.normal"]))["jobs.m.normal"]) == 2


async def test_the_ends_of_other_topics_are_asked_for_in_turn(log: JobLog) -> None:
    await append(log, "jobs.m.high", 1)
    await append(log, "jobs.m.low", 2)

    for topics in (["jobs.m.high"], ["jobs.m.high", "jobs.m.low"], ["jobs.m.low"]):
        ends = await log.ends(topics)
        assert list(ends) == topics
        sums = {"jobs.m.high": 1, "jobs.m.low": 2}
        assert {topic: sum(each) for topic, each in ends.items()} == {t: sums[t] for t in topics}
