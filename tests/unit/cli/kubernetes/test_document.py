"""docs/kubernetes.md says what is so."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import kubernetes_validate
import yaml
from typer.main import get_command

from cli.__main__ import app
from cli.kubernetes.choices import Choices
from cli.kubernetes.servers import servers_of
from common.catalogue import Catalogue
from common.settings import PROJECT
from tests.unit.cli.kubernetes.made import SECURED, made, settings

TEXT = (PROJECT / "docs" / "kubernetes.md").read_text()


def test_its_command_is_one() -> None:
    (line,) = re.findall(r"^ *darkroom (k8s .*)$", TEXT, re.MULTILINE)
    name, *words = shlex.split(line)
    get_command(app).commands[name].make_context(name, words)  # type: ignore[attr-defined]
    options = {option for one in get_command(app).commands[name].params for option in one.opts}  # type: ignore[attr-defined]
    assert set(re.findall(r"`(--[a-z-]+)", TEXT)) - {"--help"} <= options


def test_its_secret_holds_what_the_manifests_ask_for() -> None:
    keys = re.findall(r"--from-(?:literal|file)=([\w.-]+)=", TEXT)
    assert sorted(keys) == sorted(servers_of(settings(**SECURED)).secret_keys)


def test_its_ingress_leads_to_our_service(catalogue: Callable[..., Catalogue]) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    ingress = yaml.safe_load(block)
    kubernetes_validate.validate(ingress, kubernetes_validate.latest_version(), strict=True)
    (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
    backend = path["backend"]["service"]
    service = made(catalogue("a/b task=echo"))["Service", backend["name"]]
    assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    assert ingress["metadata"]["namespace"] == Choices().namespace


def test_the_objects_that_it_lists_are_made(catalogue: Callable[..., Catalogue]) -> None:
    listed = re.findall(r"^\| (\w+) `(darkroom-\w+)`", TEXT, re.MULTILINE)
    assert len(listed) == 6
    assert set(listed) <= made(catalogue("a/b task=echo"), Choices(), **SECURED).keys()
