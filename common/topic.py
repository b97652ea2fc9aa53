"""Names of topics: reversible, legal for Kafka, and free of collisions.

Kafka allows [A-Za-z0-9._-], at most 249 characters, and treats `.` and `_` as one in its metrics.
So in a model's slug `/` becomes `--`, a `-` that could be taken for half of that is escaped, and
`.` and `_` are escaped too: `_` plus two hex digits. What is left stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from common.job import Priority

EVENTS = "events"
UPDATES = "updates"
CONTROL = "control"
WORKERS = "workers"
SCALER = "scaler"
SHARED = (EVENTS, UPDATES, CONTROL, WORKERS, SCALER)

LONGEST_MODEL = 160  # characters of slug, so that prefix and suffix fit Kafka's 249
_HOUR = 3600
_DEAD = "dead"

_MODEL = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)?")


@lru_cache(maxsize=1024)
def slug(model: str) -> str:
    """The model's name as part of a topic or an object key. Raises ValueError if it has none."""
    if not _MODEL.fullmatch(model):
        raise ValueError(f"{model!r} is not a model name: use OWNER/NAME of letters, digits, . _ -")
    escaped = []
    for index, character in enumerate(model):
        beside = model[max(index - 1, 0) : index] + model[index + 1 : index + 2]
        if character == "/":
            escaped.append("--")
        elif character in "._" or (character == "-" and ("-" in beside or "/" in beside)):
            escaped.append(f"_{ord(character):02x}")
        else:
            escaped.append(character)
    return "".join(escaped)


def model_of(slug: str) -> str:
    """The inverse of `slug`."""
    text = slug.replace("--", "/")
    return re.sub(r"_([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), text)


def job_topic(model: str, priority: Priority) -> str:
    """Where jobs of this model and priority wait."""
    return f"jobs.{slug(model)}.{priority}"


@lru_cache(maxsize=1024)
def job_topics(model: str) -> Mapping[str, int]:
    """The model's topics, high priority first, each with its weight."""
    return MappingProxyType({job_topic(model, priority): priority.weight for priority in Priority})


def dead_letter_topic(model: str) -> str:
    """Where copies of the model's dead letters lie, for whoever wants to look; no work waits there.

    It is none of `job_topics`: no consumer takes from it, and no lag or sweep counts it.
    """
    return f"jobs.{slug(model)}.{_DEAD}"


def consumer_group(model: str) -> str:
    """The group in which all consumers of a model share its jobs."""
    return f"consumers.{slug(model)}"


def job_groups(*models: str) -> dict[str, str]:
    """The topics of these models' jobs, each with the group that works on it."""
    return {topic: consumer_group(model) for model in models for topic in job_topics(model)}


def is_shared_work(topic: str) -> bool:
    """Whether several readers share the topic's messages, so that it needs several partitions."""
    return topic == EVENTS or (topic.startswith("jobs.") and not topic.endswith(f".{_DEAD}"))


def retention_seconds(topic: str) -> int:
    """How long a message stays, at least, if nothing removes it earlier."""
    if topic == EVENTS or topic.startswith("jobs."):
        return 7 * 24 * _HOUR
    return 24 * _HOUR if topic == CONTROL else _HOUR
