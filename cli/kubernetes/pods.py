"""Pods: who they run as, what they may write, and where their settings come from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from cli.kubernetes.choices import Choices, Needs
from cli.kubernetes.servers import HUB_TOKEN, JOB_LOG, LEDGER, STORE, STORE_KEYS, Servers
from common.catalogue import ModelSpec
from common.settings import Settings

Object = dict[str, Any]

SETTINGS, MODELS = "darkroom-settings", "darkroom-models"  # the two ConfigMaps
CATALOGUE = "/etc/darkroom/models/model_names.txt"
PARTS = {"serve": "api", "record": "recorder", "notify": "notifier"}  # by role
API_SERVICE = "darkroom-api"
METRICS_PORT = 9100  # of a consumer: each pod has ports of its own
USER = 10001  # as in the Dockerfiles
EMPTY: Object = {"emptyDir": {}}
WEIGHTS = "/weights"  # what is downloaded from the hub
TMP = "/tmp"
ENDPOINTS_S = 5  # until a pod that stops gets no new requests
AFTER_GRACE_S = 30.0  # beyond a consumer's own grace, to give back what it could not finish

# A consumer answers here from a thread of its own, as long as it runs.
_METRICS_ANSWER = (
    "import http.client as h; "
    f"c = h.HTTPConnection('127.0.0.1', {METRICS_PORT}, timeout=5); "
    "c.request('GET', '/metrics'); assert c.getresponse().status == 200"
)


def api_pod(role: str, settings: Settings, servers: Servers, choices: Choices) -> Object:
    """Of `python -m api ROLE`."""
    container: Object = {"name": PARTS[role], "image": choices.api_image}
    container["command"] = ["python", "-m", "api", role]
    secrets = [JOB_LOG, LEDGER]
    if role != "notify":  # it sends, and needs no images for it
        secrets += [STORE, *STORE_KEYS]
    container |= _environment(choices.secret, secrets)
    seconds = 30
    if role == "serve":
        container["ports"] = [{"name": "http", "containerPort": settings.port}]
        container |= _serve_probes()
        seconds += ENDPOINTS_S
    if role == "notify" and not settings.public_url:
        address = f"http://{API_SERVICE}.{choices.namespace}.svc"
        container["env"].append({"name": "DARKROOM_PUBLIC_URL", "value": address})
    return _pod(container, choices.api_needs, servers, choices, seconds)


def consumer_pod(
    model: ModelSpec, device: str, settings: Settings, servers: Servers, choices: Choices
) -> Object:
    """Of `python -m consumers MODEL`. It never sees the ledger's password."""
    container: Object = {"name": "consumer", "image": choices.consumer_image}
    container["command"] = ["python", "-m", "consumers", model.name]
    container |= _environment(choices.secret, [JOB_LOG, STORE, *STORE_KEYS], [HUB_TOKEN])
    container["env"] += [
        {"name": "DARKROOM_METRICS_PORT", "value": str(METRICS_PORT)},
        {"name": "HF_HOME", "value": WEIGHTS},
    ]
    probe = {"exec": {"command": ["python", "-c", _METRICS_ANSWER]}, "timeoutSeconds": 10}
    container["startupProbe"] = {**probe, "periodSeconds": 10, "failureThreshold": 60}
    container["livenessProbe"] = {**probe, "periodSeconds": 30, "failureThreshold": 4}
    seconds = math.ceil(settings.grace_seconds + AFTER_GRACE_S)
    pod = _pod(container, choices.consumer_needs, servers, choices, seconds)
    if device == "cuda":
        pod["containers"][0]["resources"]["limits"][choices.gpu] = "1"
    kept = {"persistentVolumeClaim": {"claimName": choices.weights_claim}}
    pod["volumes"].append({"name": "weights", **(kept if choices.weights_claim else EMPTY)})
    pod["containers"][0]["volumeMounts"].append({"name": "weights", "mountPath": WEIGHTS})
    return pod


def _serve_probes() -> Object:
    """Ready once every server answered; after that as long as it lives.

    While a server is away the API accepts what it can and says what it cannot. An unready pod
    would say nothing, and all pods would be so at once.
    """

    def get(path: str, **numbers: int) -> Object:
        return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 5, **numbers}

    return {
        "startupProbe": get("/readyz", periodSeconds=2, failureThreshold=150),
        "readinessProbe": get("/livez", periodSeconds=5, failureThreshold=2),
        "livenessProbe": get("/livez", periodSeconds=10, failureThreshold=6),
        # Whoever routes to this pod learns of its end at the same moment as it does itself.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(ENDPOINTS_S)]}}},
    }


def _environment(secret: str, needed: Sequence[str], optional: Sequence[str] = ()) -> Object:
    env: list[Object] = [
        {"name": "HOME", "value": TMP},
        {"name": "USER", "value": "darkroom"},  # for libraries that ask who they run as
        {"name": "DARKROOM_MODEL_NAMES", "value": CATALOGUE},
    ]
    for name in needed:
        reference = {"name": secret, "key": name}
        env.append({"name": name, "valueFrom": {"secretKeyRef": reference}})
    for name in optional:
        reference_or_none = {"name": secret, "key": name, "optional": True}
        env.append({"name": name, "valueFrom": {"secretKeyRef": reference_or_none}})
    return {"env": env, "envFrom": [{"configMapRef": {"name": SETTINGS}}]}


def _pod(
    container: Object, needs: Needs, servers: Servers, choices: Choices, grace_seconds: int
) -> Object:
    volumes: list[Object] = [
        {"name": "models", "configMap": {"name": MODELS}},
        {"name": "tmp", **EMPTY},
    ]
    mounts: list[Object] = [
        {"name": "models", "mountPath": str(PurePosixPath(CATALOGUE).parent), "readOnly": True},
        {"name": "tmp", "mountPath": TMP},
    ]
    if servers.authorities:
        keys = [{"key": key, "path": key} for key in servers.authorities.values()]
        source = {"secretName": choices.secret, "items": keys}
        volumes.append({"name": "authorities", "secret": source})
    for file, key in servers.authorities.items():
        mount = {"name": "authorities", "mountPath": file, "subPath": key, "readOnly": True}
        mounts.append(mount)
    resources = {
        "requests": {"cpu": needs.cpu, "memory": needs.memory},
        "limits": {"memory": needs.memory},
    }
    container |= {
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # a Service named darkroom would become DARKROOM_PORT
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",  # a full volume takes minutes otherwise
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": grace_seconds,
        "containers": [container],
        "volumes": volumes,
    }
