"""Prometheus finds everything, and every query of dashboards and alerts finds what it asks for."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from infra.prometheus_server import Prometheus
from tests.e2e.stack import PROJECT, eventually
from tests.e2e.watched import CONFIG, SERVICES, Watched, wait_for, watched

DASHBOARDS = sorted((PROJECT / "infra" / "grafana" / "dashboards").glob("*.json"))
RULES = sorted((CONFIG / "rules").glob("*.yml"))
NAME = r"(?:up|ALERTS|(?:darkroom|http|queue|inference|processed|processing|worker|process)_\w+)"
SELECTOR = re.compile(rf"(?<!\w){NAME}(?:\{{[^}}]*\}})?")
WORK_SECONDS = 240.0

# What a stack that is well has none of.
EMPTY = {
    'http_requests_total{job="api", status=~"5.."}': "no request fails by our fault",
}
# What a scrape cannot find here: Prometheus makes it itself.
MADE_BY_PROMETHEUS = {"up", "ALERTS"}


def panel_queries() -> dict[str, str]:
    """Of each panel and query, what Grafana would send for all models."""
    return {
        f"{path.stem}: {panel['title']} {target['refId']}": target["expr"]
        .replace("$__rate_interval", "1m")
        .replace("$model", ".+")
        for path in DASHBOARDS
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
    }


def alert_expressions() -> dict[str, str]:
    return {
        rule["alert"]: rule["expr"]
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    }


def selectors(expressions: dict[str, str]) -> set[str]:
    return {match[0] for each in expressions.values() for match in SELECTOR.finditer(each)}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched(tmp_path_factory.mktemp("watched")) as found:
        yield found


@pytest.mark.timeout(600)
def test_every_target_is_up_and_a_worker_that_is_killed_makes_way_for_another(
    running: Watched,
) -> None:
    for job in ("api", *SERVICES):
        wait_for(running, f'up{{job="{job}"}} == 1')
    assert running.targets("consumer") == []  # there is nothing to do
    running.work()
    wait_for(running, 'up{job="consumer", model="darkroom/echo", worker=~".+"} == 1')
    (first,) = running.consumers()
    first.kill()
    running.work()
    worker = running.targets("consumer")[0]["labels"]["worker"]

    def another() -> bool:
        running.work()  # or it would not be wanted
        found = running.targets("consumer")
        return [each["health"] for each in found if each["labels"]["worker"] != worker] == ["up"]

    eventually(another, 200)


@pytest.mark.timeout(600)
def test_every_query_of_every_dashboard_and_alert_finds_data(running: Watched) -> None:
    parts = selectors(alert_expressions())
    assert set(EMPTY) <= parts
    asked = panel_queries() | {part: f"last_over_time({part}[10m])" for part in parts - set(EMPTY)}
    assert len(asked) > 70
    missing = dict(asked)
    deadline = time.monotonic() + WORK_SECONDS
    while missing and time.monotonic() < deadline:
        running.work()
        missing = {name: query for name, query in missing.items() if not running.query(query)}
        time.sleep(2)  # jobs a second, not as many as it can
    assert not missing, "\n".join(f"{name}: {query}" for name, query in missing.items())
    for expression in alert_expressions().values():
        running.query(expression)  # Prometheus takes it; that it fires is tested with promtool


def test_every_metric_that_is_asked_for_is_exposed(running: Watched) -> None:
    names = set(running.ask("label/__name__/values")) | MADE_BY_PROMETHEUS
    asked = selectors(panel_queries() | alert_expressions())
    assert {each.partition("{")[0] for each in asked} <= names


def test_every_metric_of_ours_is_documented_and_no_other(running: Watched) -> None:
    running.work()
    wait_for(running, 'up{job="consumer"}')
    exposed = {
        line.split()[2]
        for text in texts(running)
        for line in text.splitlines()
        if line.startswith("# TYPE") and not re.match(r"(process|python)_", line.split()[2])
    }
    table = (PROJECT / "docs" / "watching.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    assert {name for name in exposed if not name.endswith("_created")} == documented


def test_promtool_finds_no_fault_with_the_names(running: Watched, tmp_path: Path) -> None:
    for text in texts(running):
        command = [str(Prometheus.install() / "promtool"), "check", "metrics"]
        checked = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, timeout=60
        )
        assert (checked.returncode, checked.stderr) == (0, "")


def texts(running: Watched) -> list[str]:
    """What each kind of process exposes now."""
    (consumer, *_) = running.targets("consumer")
    addresses = [f"127.0.0.1:{port}" for port in (running.stack.port, *running.ports.values())]
    urls = [f"http://{address}/metrics" for address in addresses] + [consumer["scrapeUrl"]]
    return [running.scrape(url) for url in urls]


@pytest.mark.timeout(600)
def test_a_consumer_that_stops_vanishes_as_a_target(running: Watched) -> None:
    running.work()
    eventually(lambda: running.targets("consumer"))
    eventually(lambda: not running.targets("consumer"), 240)
    assert running.consumers() == []
