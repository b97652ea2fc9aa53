"""A consumer's container, from the one that Compose made as its template. Pure.

So whatever the compose file says, settings, mounts, limits, networks, holds for consumers too. They
keep Compose's labels: `docker compose ps`, `logs` and `down` know them as the template's service.
"""

from __future__ import annotations

import secrets
from typing import Any

from scaler.launchers.base import Launched

TEMPLATE = "darkroom.template"  # on the template's service, with any value
WORKER = "darkroom.worker"
MODEL = "darkroom.model"
DEVICE = "darkroom.device"
PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
NUMBER = "com.docker.compose.container-number"  # Compose counts from 1, and keeps the lowest
NAME_VARIABLE = "DARKROOM_WORKER="

Json = dict[str, Any]


def container_of(launched: Launched, template: Json) -> Json:
    """What to create, from what inspecting the template's container says."""
    config = {
        name: value
        for name, value in template["Config"].items()
        if name not in ("Hostname", "Domainname", "MacAddress")  # of that container alone
    }
    environment = [one for one in config["Env"] or [] if not one.startswith(NAME_VARIABLE)]
    networks = _networks(template)
    return {
        **config,
        # As the tag was when the template was made: settings and image stay together.
        "Image": template["Image"],
        "Cmd": ["python", "-m", "consumers", launched.model],
        "Env": [*environment, NAME_VARIABLE + launched.id],
        "Labels": _labels(launched, config["Labels"]),
        "HostConfig": _host(launched, template["HostConfig"]),
        # Engines before 25 take only one here.
        "NetworkingConfig": {"EndpointsConfig": dict(list(networks.items())[:1])},
    }


def more_networks(template: Json) -> dict[str, Json]:
    """Those that a container must be connected to before it starts, by name."""
    return dict(list(_networks(template).items())[1:])


def _labels(launched: Launched, of_template: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in of_template.items() if name != TEMPLATE}
    return {
        **kept,
        WORKER: launched.id,
        MODEL: launched.model,
        DEVICE: launched.device,
        NUMBER: str(2 + secrets.randbelow(10**8)),
    }


def _host(launched: Launched, of_template: Json) -> Json:
    """Without ports, which many cannot share; who restarts it, and when, the scaler decides."""
    host = {
        **of_template,
        "PortBindings": {},
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
    }
    if launched.device:
        request = {"Driver": "", "DeviceIDs": [launched.device], "Capabilities": [["gpu"]]}
        host["DeviceRequests"] = [request]
    return host


def _networks(template: Json) -> dict[str, Json]:
    """With the service's name as an alias: it resolves to all of its consumers."""
    names = template["NetworkSettings"]["Networks"]
    mode = template["HostConfig"]["NetworkMode"]
    if mode == "host" or mode == "none" or mode.startswith("container:"):
        return {}
    user_defined = [name for name in names if name != "bridge"]
    service = template["Config"]["Labels"][SERVICE]
    first = sorted(user_defined, key=lambda name: name != mode)
    return {name: {"Aliases": [service]} for name in first}
