"""What the command is told beside the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SECONDS_PER_JOB = 3.0  # with the default target, KEDA's own default of ten jobs a consumer


@dataclass(frozen=True, slots=True)
class Needs:
    """What one container asks of its node, as Kubernetes writes quantities."""

    cpu: str
    memory: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Of the operator."""

    namespace: str = "darkroom"
    secret: str = "darkroom"  # its name; what is in it is never seen here
    api_image: str = "darkroom/api"
    consumer_image: str = "darkroom/consumer"
    project: str = "/darkroom"  # where an image holds Darkroom
    replicas: int = 2  # of the API
    api_needs: Needs = Needs("500m", "512Mi")
    consumer_needs: Needs = Needs("1", "4Gi")
    gpu: str = "nvidia.com/gpu"  # the resource that a GPU is asked for as
    weights_claim: str = ""  # a PersistentVolumeClaim that keeps downloaded models
    poll_seconds: int = 5
    seconds_per_job: float = SECONDS_PER_JOB
    seconds_per_job_of: Mapping[str, float] = field(default_factory=dict)  # where they differ
