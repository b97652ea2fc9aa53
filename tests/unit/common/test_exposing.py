"""Metrics over HTTP, by a real client."""

from __future__ import annotations

import socket

import httpx2
import pytest
from prometheus_client import CollectorRegistry, Counter

from common.errors import SettingsInvalid
from common.exposing import Exposition, exposed
from infra.ports import free_ports


def get(port: int, path: str, host: str = "127.0.0.1") -> httpx2.Response:
    return httpx2.get(f"http://{host}:{port}{path}", trust_env=False, timeout=10)


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("things", "Things", registry=registry).inc(3)
    return registry


def test_metrics_and_pages_are_served_and_nothing_else(registry: CollectorRegistry) -> None:
    (port,) = free_ports(1)
    with exposed(registry, host="127.0.0.1", port=port, pages={"/targets": lambda: b"[]"}):
        assert "things_total 3.0" in get(port, "/metrics").text
        page = get(port, "/targets")
        assert (page.content, page.headers["content-type"]) == (b"[]", "application/json")
        missing = get(port, "/")
        assert (missing.status_code, missing.text) == (404, "GET /metrics or /targets\n")
    with pytest.raises(httpx2.ConnectError):
        get(port, "/metrics")


def test_it_listens_on_loopback_of_ipv6_too(registry: CollectorRegistry) -> None:
    exposition = Exposition(registry, host="::1", port=0)
    assert get(exposition.port, "/metrics", "[::1]").status_code == 200
    exposition.close()


def test_port_0_of_a_service_serves_nothing(registry: CollectorRegistry) -> None:
    with exposed(registry, host="no address at all", port=0):
        pass


def test_a_port_that_is_taken_is_named_with_what_to_do(registry: CollectorRegistry) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsInvalid, match=rf"127.0.0.1:{port}.*METRICS_PORT to a free"):
            Exposition(registry, host="127.0.0.1", port=port)


def test_a_client_that_says_nothing_holds_up_no_other(registry: CollectorRegistry) -> None:
    exposition = Exposition(registry, host="127.0.0.1", port=0)
    with socket.create_connection(("127.0.0.1", exposition.port)):
        assert get(exposition.port, "/metrics").status_code == 200
    exposition.close()
