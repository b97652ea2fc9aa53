"""KEDA's objects: how many consumers a model has, by the lag of its topics."""

from __future__ import annotations

import math
import re

from cli.kubernetes.choices import Choices
from cli.kubernetes.pods import Object
from cli.kubernetes.servers import KAFKA_PASSWORD, KAFKA_USER, Servers
from common.errors import SettingsInvalid
from common.job import Priority
from common.topic import consumer_group, job_topic
from scaler.demand import TARGETS
from scaler.observation import Rules

API_VERSION = "keda.sh/v1alpha1"
AUTHENTICATION = "darkroom-kafka"
KAFKA_PORT = 9092  # where a URL says none; KEDA has no default
LONGEST_HOLD_DOWN = 3600  # seconds, of the autoscaler that KEDA drives
_MECHANISMS = {
    "PLAIN": "plaintext",
    "SCRAM-SHA-256": "scram_sha256",
    "SCRAM-SHA-512": "scram_sha512",
}


def scaled_object(
    model: str, metadata: Object, rules: Rules, servers: Servers, choices: Choices
) -> Object:
    """Of the Deployment that has the same name. Raises SettingsInvalid."""
    if rules.hold_down > LONGEST_HOLD_DOWN:
        raise SettingsInvalid(
            f"hold_down={rules.hold_down:g} of {model}: the autoscaler of Kubernetes holds for "
            f"{LONGEST_HOLD_DOWN} s at most"
        )
    window = {"stabilizationWindowSeconds": math.ceil(rules.hold_down)}
    return {
        "apiVersion": API_VERSION,
        "kind": "ScaledObject",
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": {"name": metadata["name"]},
            "pollingInterval": choices.poll_seconds,
            "cooldownPeriod": math.ceil(rules.cooldown),
            "minReplicaCount": rules.minimum,
            "maxReplicaCount": rules.maximum,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": window}}},
            "triggers": [
                _trigger(model, priority, rules.target, servers, choices) for priority in Priority
            ],
        },
    }


def lag_threshold(priority: Priority, target: float, seconds_per_job: float) -> int:
    """The jobs of this priority that one consumer does within their target."""
    share: float = getattr(TARGETS, priority.value) / TARGETS.normal
    return max(math.floor(target * share / seconds_per_job), 1)


def trigger_authentication(servers: Servers, choices: Choices) -> Object | None:
    """What KEDA shows the brokers; None where they ask for nothing that is secret."""
    cluster = servers.cluster
    keys = {"username": KAFKA_USER, "password": KAFKA_PASSWORD} if cluster.login else {}
    if cluster.ca_file is not None:
        keys["ca"] = servers.authorities[cluster.ca_file]
    if not keys:
        return None
    references = [
        {"parameter": parameter, "name": choices.secret, "key": key}
        for parameter, key in keys.items()
    ]
    return {
        "apiVersion": API_VERSION,
        "kind": "TriggerAuthentication",
        "metadata": {"name": AUTHENTICATION, "namespace": choices.namespace},
        "spec": {"secretTargetRef": references},
    }


def _trigger(
    model: str, priority: Priority, target: float, servers: Servers, choices: Choices
) -> Object:
    cluster = servers.cluster
    seconds_per_job = choices.seconds_per_job_of.get(model, choices.seconds_per_job)
    metadata = {
        "bootstrapServers": ",".join(map(_with_port, cluster.servers)),
        "consumerGroup": cluster.wire(consumer_group(model)),
        "topic": cluster.wire(job_topic(model, priority)),
        "lagThreshold": str(lag_threshold(priority, target, seconds_per_job)),
        "offsetResetPolicy": "earliest",  # as our consumers begin: a first job starts the first
    }
    if cluster.encrypted:
        metadata["tls"] = "enable"
    if cluster.login is not None:
        metadata["sasl"] = _MECHANISMS[cluster.login.mechanism]
    trigger: Object = {"type": "kafka", "name": priority.value, "metadata": metadata}
    if cluster.login is not None or cluster.ca_file is not None:
        trigger["authenticationRef"] = {"name": AUTHENTICATION}
    return trigger


def _with_port(server: str) -> str:
    return server if re.search(r":\d+$", server) else f"{server}:{KAFKA_PORT}"
