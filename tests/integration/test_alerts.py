"""Rules, their tests and their pages: what promtool says of them, and that none lacks another."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.prometheus_server import promtool
from tests.e2e.watched import CONFIG, SERVICES, config_for

PROJECT = CONFIG.parents[1]
RULES = sorted((CONFIG / "rules").glob("*.yml"))
TESTS = sorted((CONFIG / "tests").glob("*.yml"))
DASHBOARDS = sorted((PROJECT / "infra" / "grafana" / "dashboards").glob("*.json"))


def rules() -> dict[str, Any]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_promtool_takes_the_configuration_and_the_rules(tmp_path: Path) -> None:
    config = config_for(tmp_path, {"api": 8000, **SERVICES}, "a key")
    checked = promtool("check", "config", config)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    checked = promtool("check", "config", "--syntax-only", CONFIG / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_fire_when_they_should_and_not_before() -> None:
    assert TESTS
    tested = promtool("test", "rules", *TESTS)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_is_tested_firing_and_silent() -> None:
    tests = [test for path in TESTS for test in yaml.safe_load(path.read_text())["tests"]]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    firing = {case["alertname"] for case in cases if case.get("exp_alerts")}
    silent = {case["alertname"] for case in cases if not case.get("exp_alerts")}
    assert firing == silent == set(rules())


def test_every_alert_leads_to_its_heading_and_every_heading_is_of_one() -> None:
    page = (PROJECT / "docs" / "alerts.md").read_text()
    headings = re.findall(r"^### (\w+)$", page, re.MULTILINE)
    assert sorted(headings) == sorted(rules())
    for name, rule in rules().items():
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{name.lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning")


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_whole(path: Path) -> None:
    board = json.loads(path.read_text())
    assert board["uid"] == f"darkroom-{path.stem}"
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    variables = {each["name"] for each in board["templating"]["list"]}
    assert set(re.findall(r"\$\{?(datasource|model)\b", path.read_text())) == variables
    for panel in panels:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below


def test_grafana_is_told_where_the_dashboards_and_prometheus_are() -> None:
    provisioning = PROJECT / "infra" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    interval = yaml.safe_load((CONFIG / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == interval
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "darkroom.yml").read_text())[
        "providers"
    ]
    assert provider["options"]["path"] == "/etc/grafana/dashboards"
