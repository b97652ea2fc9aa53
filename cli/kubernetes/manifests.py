"""Every object, by the file that it stands in."""

from __future__ import annotations

import hashlib
import json

from cli.kubernetes.choices import Choices
from cli.kubernetes.models import catalogue_text, device_of
from cli.kubernetes.names import MODEL, model_labels, object_name
from cli.kubernetes.pods import (
    CATALOGUE,
    MODELS,
    PARTS,
    SETTINGS,
    Object,
    api_pod,
    consumer_pod,
)
from cli.kubernetes.scaling import scaled_object, trigger_authentication
from cli.kubernetes.servers import Servers, servers_of
from common.catalogue import Catalogue, ModelSpec
from common.errors import SettingsInvalid
from common.scaling import rules_of, usual_rules
from common.settings import Settings

Files = dict[str, list[Object]]

# What pods get otherwise or not at all: from the Secret, from here, or since only a host has it.
NOT_SHARED = {
    "admin_key",
    "monitor_key",
    "host",
    "data_dir",
    "job_log_url",
    "object_store_url",
    "database_url",
    "model_names",
    "benchmark_file",
    "metrics_host",
    "metrics_port",
    "scaler_metrics_port",
    "recorder_metrics_port",
    "notifier_metrics_port",
    "worker",
    "launcher",
    "compose_project",
    "devices",
    "slots",
    "crash_at",
}


def manifests(settings: Settings, catalogue: Catalogue, choices: Choices) -> Files:
    """Raises SettingsInvalid where they could not work, UnknownModel for one that is chosen."""
    servers = servers_of(settings)
    if settings.auth == "off":
        raise SettingsInvalid(
            "DARKROOM_AUTH=off: whoever reaches the port in the cluster could do everything. Set "
            "it to auto or on."
        )
    for model in choices.seconds_per_job_of:
        catalogue[model]
    shared, models = _shared_settings(settings), catalogue_text(catalogue, project=choices.project)
    objects = [
        _config_map(SETTINGS, choices, shared),
        _config_map(MODELS, choices, {CATALOGUE.rpartition("/")[2]: models}),
    ]
    if authentication := trigger_authentication(servers, choices):
        objects.append(authentication)
    files: Files = {"darkroom.yaml": objects}
    state = _fingerprint(shared, models)
    for role, part in PARTS.items():
        files[f"{part}.yaml"] = _role(role, settings, servers, choices, state)
    for each in catalogue:
        # Of its own line alone: a new model is no reason to load the others anew.
        state = _fingerprint(shared, catalogue_text([each], project=choices.project))
        files[f"{object_name(each.name)}.yaml"] = _model(each, settings, servers, choices, state)
    return files


def _role(
    role: str, settings: Settings, servers: Servers, choices: Choices, state: str
) -> list[Object]:
    metadata = _metadata(f"darkroom-{PARTS[role]}", PARTS[role], choices)
    # Each recorder and notifier takes its share, so two may overlap while one replaces the other.
    replicas = {"replicas": choices.replicas if role == "serve" else 1}
    pod = api_pod(role, settings, servers, choices)
    deployment = _deployment(metadata, replicas, pod, state)
    if role != "serve":
        return [deployment]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "selector": _selector(metadata["name"]),
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }
    return [deployment, service]


def _model(
    model: ModelSpec, settings: Settings, servers: Servers, choices: Choices, state: str
) -> list[Object]:
    metadata = _metadata(object_name(model.name), "consumer", choices)
    metadata["labels"] |= model_labels(model.name)
    metadata["annotations"] = {MODEL: model.name}
    device = device_of(model, settings)
    pod = consumer_pod(model, device, settings, servers, choices)
    # Without a count: what is not said, `kubectl apply` leaves to KEDA. And without one more while
    # another replaces it: there might be no GPU for it.
    update = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    deployment = _deployment(metadata, {"strategy": update}, pod, state)
    rules = rules_of(model, usual_rules(settings), settings.partitions)
    return [deployment, scaled_object(model.name, metadata, rules, servers, choices)]


def _deployment(metadata: Object, how: Object, pod: Object, state: str) -> Object:
    annotations = {**metadata.get("annotations", {}), "darkroom/config": state}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            **how,
            "selector": {"matchLabels": _selector(metadata["name"])},
            "template": {
                "metadata": {"labels": metadata["labels"], "annotations": annotations},
                "spec": pod,
            },
        },
    }


def _metadata(name: str, component: str, choices: Choices) -> Object:
    labels = {**_selector(name), "app.kubernetes.io/component": component}
    return {"name": name, "namespace": choices.namespace, "labels": labels}


def _selector(name: str) -> Object:
    return {"app.kubernetes.io/name": "darkroom", "app.kubernetes.io/instance": name}


def _config_map(name: str, choices: Choices, data: dict[str, str]) -> Object:
    metadata = {"name": name, "namespace": choices.namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _shared_settings(settings: Settings) -> dict[str, str]:
    """Those that differ from their defaults, as the environment has them; and where to listen."""
    changed = {
        f"DARKROOM_{name.upper()}": str(getattr(settings, name))
        for name, field in type(settings).model_fields.items()
        if name not in NOT_SHARED and getattr(settings, name) != field.get_default()
    }
    if settings.device.startswith("cuda:"):
        changed["DARKROOM_DEVICE"] = "cuda"  # a pod sees but the GPU that it was given
    return {"DARKROOM_HOST": "0.0.0.0", "DARKROOM_PORT": str(settings.port), **changed}


def _fingerprint(shared: dict[str, str], models: str) -> str:
    """In the pods' template, so that other settings make other pods."""
    text = json.dumps([shared, models], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
