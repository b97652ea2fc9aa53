"""KEDA's two kinds as its definitions have them (keda.sh/v1alpha1, 2.17 to 2.21): what we use.

A field that is not here, or has another type, is refused, as `kubectl apply` would refuse it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Int32 = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Version = Literal["keda.sh/v1alpha1"]


class Closed(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Has these fields and no others."""


class Metadata(Closed):
    name: Name
    namespace: Name
    labels: dict[str, Annotated[str, Meta(max_length=63)]] = {}
    annotations: dict[str, str] = {}


class KafkaTrigger(Closed):
    """Of a trigger of type kafka. KEDA takes texts alone, numbers among them."""

    bootstrap_servers: Annotated[str, Meta(pattern=r"^[^,\s]+(,[^,\s]+)*$")]
    consumer_group: Annotated[str, Meta(min_length=1)]
    topic: Annotated[str, Meta(min_length=1, max_length=249)]
    lag_threshold: Annotated[str, Meta(pattern=r"^[1-9]\d*$")]
    offset_reset_policy: Literal["earliest", "latest"]
    tls: Literal["enable", "disable"] = "disable"
    sasl: Literal["none", "plaintext", "scram_sha256", "scram_sha512"] = "none"


class Reference(Closed):
    name: Name


class Trigger(Closed):
    type: Literal["kafka"]
    name: str
    metadata: KafkaTrigger
    authentication_ref: Reference | None = None


class ScaleDown(Closed):
    stabilization_window_seconds: Annotated[int, Meta(ge=0, le=3600)]


class Behavior(Closed):
    scale_down: ScaleDown


class Autoscaler(Closed):
    behavior: Behavior


class Advanced(Closed):
    horizontal_pod_autoscaler_config: Autoscaler


class ScaledObjectSpec(Closed):
    scale_target_ref: Reference
    polling_interval: Int32
    cooldown_period: Int32
    min_replica_count: Int32
    max_replica_count: Int32
    advanced: Advanced
    triggers: Annotated[list[Trigger], Meta(min_length=1)]

    def __post_init__(self) -> None:
        if max(self.min_replica_count, 1) > self.max_replica_count:
            raise ValueError("KEDA refuses a minReplicaCount above the maxReplicaCount")
        if len({trigger.name for trigger in self.triggers}) != len(self.triggers):
            raise ValueError("KEDA refuses two triggers of one name")


class ScaledObject(Closed):
    api_version: Version
    kind: Literal["ScaledObject"]
    metadata: Metadata
    spec: ScaledObjectSpec


class SecretKey(Closed):
    parameter: Literal["username", "password", "ca"]
    name: Name
    key: Annotated[str, Meta(pattern=r"^[-._a-zA-Z0-9]+$")]


class TriggerAuthenticationSpec(Closed):
    secret_target_ref: Annotated[list[SecretKey], Meta(min_length=1)]


class TriggerAuthentication(Closed):
    api_version: Version
    kind: Literal["TriggerAuthentication"]
    metadata: Metadata
    spec: TriggerAuthenticationSpec


def check(manifest: dict[str, Any]) -> None:
    """Raises msgspec.ValidationError."""
    kinds = {"ScaledObject": ScaledObject, "TriggerAuthentication": TriggerAuthentication}
    msgspec.convert(manifest, kinds[manifest["kind"]])
