"""Settings of a cluster, and the objects made of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cli.kubernetes.choices import Choices
from cli.kubernetes.manifests import manifests
from common.catalogue import Catalogue
from common.settings import Settings

Object = dict[str, Any]
SERVERS = {
    "job_log_url": "kafka://kafka-0:9093,kafka-1?prefix=dark.",
    "object_store_url": "s3://darkroom?endpoint=http://minio:9000",
    "database_url": "postgresql+asyncpg://darkroom:s3cret-ledger@postgres/darkroom",
}
CA = "/etc/darkroom/tls/ca.pem"
SECURED = {
    "job_log_url": f"kafka://me:s3cret-log@k:9093?security_protocol=SASL_SSL&ssl_cafile={CA}",
    "object_store_url": f"s3://darkroom?endpoint=https://minio:9000&ca_file={CA}",
    "database_url": f"postgresql+asyncpg://me:s3cret-ledger@db/darkroom?sslrootcert={CA}",
}


def settings(**given: object) -> Settings:
    return Settings.model_validate({**SERVERS, **given})


def made(
    catalogue: Catalogue, choices: Choices | None = None, **given: object
) -> dict[tuple[str, str], Object]:
    """Every object, by kind and name."""
    files = manifests(settings(**given), catalogue, choices or Choices())
    objects = [one for objects in files.values() for one in objects]
    found = {(one["kind"], one["metadata"]["name"]): one for one in objects}
    assert len(found) == len(objects)
    return found


def of_kind(kind: str, objects: dict[tuple[str, str], Object]) -> dict[str, Object]:
    """By their names."""
    return {name: one for (found, name), one in objects.items() if found == kind}


def containers(objects: dict[tuple[str, str], Object]) -> Iterator[tuple[str, Object]]:
    """The one container of each Deployment, with the Deployment's name."""
    for name, deployment in of_kind("Deployment", objects).items():
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        yield name, container
