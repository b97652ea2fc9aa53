"""A consumer's container, from what inspecting the template says."""

from __future__ import annotations

from typing import Any

from scaler.launchers import Launched
from scaler.launchers.template import container_of, more_networks

ONE = Launched("darkroom-o-m-1a2b3c4d", "o/m")


def template(**host: Any) -> dict[str, Any]:
    return {
        "Image": "sha256:of-then",
        "Config": {
            "Hostname": "0123456789ab",
            "Domainname": "",
            "Image": "darkroom-consumer:latest",
            "Cmd": ["true"],
            "Env": ["A=b", "DARKROOM_WORKER=another"],
            "User": "10001",
            "Labels": {
                "com.docker.compose.project": "darkroom",
                "com.docker.compose.service": "consumer",
                "com.docker.compose.container-number": "1",
                "darkroom.template": "consumer",
            },
        },
        "HostConfig": {
            "NetworkMode": "darkroom_default",
            "RestartPolicy": {"Name": "always"},
            "PortBindings": {"80/tcp": [{"HostPort": "80"}]},
            "AutoRemove": True,
            **host,
        },
        "NetworkSettings": {
            "Networks": {
                "darkroom_a": {"Aliases": ["0123456789ab"], "IPAddress": "10.0.0.9"},
                "darkroom_default": {"Aliases": ["0123456789ab"], "IPAddress": "10.0.1.9"},
            }
        },
    }


def test_what_is_of_the_templates_container_alone_is_left_out() -> None:
    made = container_of(ONE, template())
    assert "Hostname" not in made
    assert made["Image"] == "sha256:of-then"
    assert made["User"] == "10001"
    assert made["Env"] == ["A=b", f"DARKROOM_WORKER={ONE.id}"]
    host = made["HostConfig"]
    assert (host["PortBindings"], host["RestartPolicy"], host["AutoRemove"]) == (
        {},
        {"Name": "no"},
        False,
    )


def test_the_network_of_its_mode_comes_first_and_the_others_after() -> None:
    first = container_of(ONE, template())["NetworkingConfig"]["EndpointsConfig"]
    assert first == {"darkroom_default": {"Aliases": ["consumer"]}}
    assert more_networks(template()) == {"darkroom_a": {"Aliases": ["consumer"]}}


def test_without_networks_of_its_own_none_are_named() -> None:
    for mode in ("host", "none", "container:other"):
        of_mode = template(NetworkMode=mode)
        assert container_of(ONE, of_mode)["NetworkingConfig"]["EndpointsConfig"] == {}
        assert more_networks(of_mode) == {}


def test_a_device_is_asked_of_the_engine_in_place_of_what_the_template_asks() -> None:
    all_of_them = [{"Count": -1, "Capabilities": [["gpu"]]}]
    on_second = Launched("w", "o/m", "1")
    made = container_of(on_second, template(DeviceRequests=all_of_them))
    assert made["HostConfig"]["DeviceRequests"] == [
        {"Driver": "", "DeviceIDs": ["1"], "Capabilities": [["gpu"]]}
    ]
    assert made["Labels"]["darkroom.device"] == "1"
    # Its only one: whatever number it has outside, in the container it is the first.
    assert not any("CUDA_VISIBLE_DEVICES" in one for one in made["Env"])
    kept = container_of(ONE, template(DeviceRequests=all_of_them))
    assert kept["HostConfig"]["DeviceRequests"] == all_of_them


def test_compose_counts_it_after_the_template() -> None:
    numbers = {
        container_of(ONE, template())["Labels"]["com.docker.compose.container-number"]
        for _ in range(20)
    }
    assert len(numbers) == 20
    assert min(map(int, numbers)) > 1
