from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.job import Priority
from common.topic import (
    CONTROL,
    EVENTS,
    LONGEST_MODEL,
    SHARED,
    UPDATES,
    consumer_group,
    dead_letter_topic,
    is_shared_work,
    job_groups,
    job_topic,
    job_topics,
    model_of,
    retention_seconds,
    slug,
)

PART = st.text("abAB09._-", min_size=1, max_size=12)
MODELS = st.one_of(PART, st.builds("{}/{}".format, PART, PART))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("darkroom/shapes", "darkroom--shapes"),
        ("Salesforce/blip-image-captioning-base", "Salesforce--blip-image-captioning-base"),
        ("o/v1.5_x", "o--v1_2e5_5fx"),
        ("a--b", "a_2d_2db"),
        ("a-/b", "a_2d--b"),
        ("a/-b", "a--_2db"),
        ("gpt2", "gpt2"),
    ],
)
def test_a_models_slug_stays_readable(model: str, expected: str) -> None:
    assert slug(model) == expected


@given(MODELS)
@example("a---b/--")
@example("_2d/-")
def test_a_slug_leads_back_to_its_model(model: str) -> None:
    assert model_of(slug(model)) == model


@given(MODELS)
def test_a_slug_is_legal_in_a_topic_and_holds_nothing_that_kafka_confuses(model: str) -> None:
    assert re.fullmatch(r"([A-Za-z0-9-]|_[0-9a-f]{2})+", slug(model))


@given(MODELS, MODELS)
def test_two_models_never_share_a_topic_even_where_dots_and_underscores_are_one(
    one: str, two: str
) -> None:
    metrics = {job_topic(model, Priority.HIGH).replace(".", "_") for model in (one, two)}

    assert len(metrics) == len({one, two})


@pytest.mark.parametrize("name", ["", "a/b/c", "/a", "a/", "a b", "ä/b", "a/b\n", "a/b?"])
def test_what_is_no_model_name_has_no_slug(name: str) -> None:
    with pytest.raises(ValueError, match="is not a model name"):
        slug(name)


def test_the_longest_model_leaves_room_for_a_prefix_in_kafkas_249_characters() -> None:
    topic = job_topic("m" * LONGEST_MODEL, Priority.NORMAL)

    assert len(topic) <= 249 - 64


def test_a_model_has_a_topic_of_each_priority_with_its_weight() -> None:
    assert job_topics("o/m") == {
        "jobs.o--m.high": 8,
        "jobs.o--m.normal": 3,
        "jobs.o--m.low": 1,
    }
    assert consumer_group("o/m") == "consumers.o--m"


def test_a_model_s_topics_are_its_group_s() -> None:
    groups = job_groups("o/m", "o/n")
    assert list(groups) == [*job_topics("o/m"), *job_topics("o/n")]
    assert list(groups.values()) == ["consumers.o--m"] * 3 + ["consumers.o--n"] * 3


def test_jobs_and_events_are_work_and_the_rest_is_told_to_everyone() -> None:
    assert is_shared_work(job_topic("o/m", Priority.LOW))
    assert [topic for topic in SHARED if is_shared_work(topic)] == [EVENTS]


def test_work_is_kept_longest_and_cancellations_for_a_day() -> None:
    hour = 3600
    assert retention_seconds(job_topic("o/m", Priority.LOW)) == 7 * 24 * hour
    assert retention_seconds(EVENTS) == 7 * 24 * hour
    assert retention_seconds(CONTROL) == 24 * hour
    assert retention_seconds(UPDATES) == hour


def test_dead_letters_lie_apart_from_the_work_and_as_long_as_it() -> None:
    topic = dead_letter_topic("o/m")
    assert topic == "jobs.o--m.dead"
    assert topic not in job_topics("o/m")
    assert not is_shared_work(topic)
    assert retention_seconds(topic) == retention_seconds(job_topic("o/m", Priority.LOW))
    assert is_shared_work(job_topic("o/dead", Priority.LOW))
