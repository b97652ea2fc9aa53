from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cli.kubernetes.choices import Choices
from cli.kubernetes.names import object_name
from cli.kubernetes.scaling import lag_threshold
from common.catalogue import Catalogue
from common.errors import SettingsInvalid, UnknownModel
from common.job import Priority
from tests.unit.cli.kubernetes.made import SECURED, made

Read = Callable[..., Catalogue]


def scaled(catalogue: Catalogue, choices: Choices | None = None, **given: object) -> Any:
    """The spec of the only model."""
    (model,) = catalogue
    return made(catalogue, choices, **given)["ScaledObject", object_name(model.name)]["spec"]


def test_a_model_scales_by_its_line_and_by_the_settings_for_the_rest(catalogue: Read) -> None:
    line = catalogue("a/b task=echo min=1 max=3 cooldown=60.5")
    spec = scaled(line, hold_down_seconds=90.0)
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, 3)
    assert spec["cooldownPeriod"] == 61
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 90


def test_it_never_asks_for_more_consumers_than_a_topic_has_partitions(catalogue: Read) -> None:
    spec = scaled(catalogue("a/b task=echo min=7 max=9"), partitions=4)
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (4, 4)


def test_each_priority_has_the_jobs_that_one_consumer_does_within_its_target(
    catalogue: Read,
) -> None:
    choices = Choices(seconds_per_job=100.0, seconds_per_job_of={"a/b": 2.0})
    spec = scaled(catalogue("a/b task=echo target=60"), choices)
    thresholds = {one["name"]: one["metadata"]["lagThreshold"] for one in spec["triggers"]}
    assert thresholds == {"high": "10", "normal": "30", "low": "300"}


def test_a_job_longer_than_the_target_has_a_consumer_of_its_own() -> None:
    assert lag_threshold(Priority.HIGH, 30.0, 120.0) == 1


def test_a_hold_down_that_the_autoscaler_does_not_know_is_refused(catalogue: Read) -> None:
    with pytest.raises(SettingsInvalid, match="hold_down=4000 of a/b"):
        scaled(catalogue("a/b task=echo hold_down=4000"))


def test_seconds_of_a_model_that_is_not_there_are_refused(catalogue: Read) -> None:
    with pytest.raises(UnknownModel, match="a/c"):
        scaled(catalogue("a/b task=echo"), Choices(seconds_per_job_of={"a/c": 1.0}))


def test_without_a_password_nothing_is_shown_to_the_brokers(catalogue: Read) -> None:
    objects = made(catalogue("a/b task=echo"))
    assert not [kind for kind, _ in objects if kind == "TriggerAuthentication"]
    for trigger in objects["ScaledObject", object_name("a/b")]["spec"]["triggers"]:
        assert "authenticationRef" not in trigger
        assert trigger["metadata"]["bootstrapServers"] == "kafka-0:9093,kafka-1:9092"


@pytest.mark.parametrize(
    ("mechanism", "sasl"),
    [("", "scram_sha512"), ("SCRAM-SHA-256", "scram_sha256"), ("PLAIN", "plaintext")],
)
def test_the_brokers_get_what_the_url_says_from_the_secret(
    catalogue: Read, mechanism: str, sasl: str
) -> None:
    url = SECURED["job_log_url"] + (f"&sasl_mechanism={mechanism}" if mechanism else "")
    secured = SECURED | {"job_log_url": url}
    objects = made(catalogue("a/b task=echo"), Choices(secret="mine"), **secured)
    authentication = objects["TriggerAuthentication", "darkroom-kafka"]
    references = authentication["spec"]["secretTargetRef"]
    assert {one["parameter"]: (one["name"], one["key"]) for one in references} == {
        "username": ("mine", "kafka-username"),
        "password": ("mine", "kafka-password"),
        "ca": ("mine", "ca.pem"),
    }
    for trigger in objects["ScaledObject", object_name("a/b")]["spec"]["triggers"]:
        assert trigger["authenticationRef"] == {"name": "darkroom-kafka"}
        assert (trigger["metadata"]["tls"], trigger["metadata"]["sasl"]) == ("enable", sasl)


def test_tls_that_the_system_trusts_needs_no_secret(catalogue: Read) -> None:
    objects = made(catalogue("a/b task=echo"), job_log_url="kafka://k:1?security_protocol=SSL")
    assert not [kind for kind, _ in objects if kind == "TriggerAuthentication"]
    for trigger in objects["ScaledObject", object_name("a/b")]["spec"]["triggers"]:
        assert trigger["metadata"]["tls"] == "enable"
