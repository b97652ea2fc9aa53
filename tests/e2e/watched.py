"""A stack that does all that the dashboards show, and a real Prometheus that scrapes it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import yaml

from infra.ports import free_ports
from infra.prometheus_server import Prometheus
from tests.abuse.canaries import outside
from tests.e2e.stack import PLAIN, PROJECT, Json, Stack, embedded, eventually
from tests.pictures import plain_png

CONFIG = PROJECT / "infra" / "prometheus"
ECHO = "darkroom/echo"
SERVICES = {"scaler": 9101, "recorder": 9102, "notifier": 9103}  # as compose sets them


@dataclass(frozen=True)
class Watched:
    """A stack with keys on, and the Prometheus that watches it."""

    stack: Stack
    prometheus: Prometheus
    key: str  # of a user
    monitor_key: str
    ports: dict[str, int]  # of the services
    world: str  # a server of images and for webhooks

    def ask(self, path: str, **parameters: str) -> Any:
        """What Prometheus' API answers. Raises where it refuses, with its reason."""
        reply = httpx2.get(
            f"http://{self.prometheus.address}/api/v1/{path}", params=parameters, **PLAIN
        )
        assert reply.status_code == 200, f"{parameters}: {reply.text}"
        return reply.json()["data"]

    def query(self, expression: str) -> list[Json]:
        """Its series now; those whose value is not a number are none."""
        found: list[Json] = self.ask("query", query=expression)["result"]
        return [each for each in found if each["value"][1] != "NaN"]

    def targets(self, job: str) -> list[Json]:
        active: list[Json] = self.ask("targets", state="active")["activeTargets"]
        return [each for each in active if each["labels"]["job"] == job]

    def submit(self, image: str, path: str) -> str:
        """A job of the world's `image`, whose webhook goes to its `path`; the job's id."""
        reply = httpx2.post(
            f"{self.stack.url}/v1/predictions",
            json={
                "model": ECHO,
                "input": {"image": f"{self.world}{image}"},
                "webhook": f"{self.world}{path}",
            },
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=60,
            **PLAIN,
        )
        assert reply.status_code == 202, reply.text
        job: str = reply.json()["id"]
        return job

    def work(self) -> None:
        """A job that succeeds, one that fails, a webhook that arrives, and one that does not."""
        self.submit("/there.png", "/takes")
        self.submit("/gone.png", "/refuses")

    def scrape(self, url: str) -> str:
        """As Prometheus does it."""
        headers = {"Authorization": f"Bearer {self.monitor_key}"}
        return httpx2.get(url, headers=headers, **PLAIN).raise_for_status().text

    def consumers(self) -> list[psutil.Process]:
        return [one for one in self.stack.members() if one.cmdline()[1:3] == ["-m", "consumers"]]


def _answer(path: str) -> tuple[int, dict[str, str], bytes]:
    match path:
        case "/there.png":
            return 200, {}, plain_png(40)
        case "/takes":
            return 204, {}, b""
        case "/refuses":
            return 500, {}, b""
    return 404, {}, b""


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """Both run meanwhile; nothing has been asked of the stack yet."""
    names = folder / "model_names.txt"
    names.write_text(f"{ECHO} task=echo\n")
    ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
    stack = embedded(
        folder,
        DARKROOM_AUTH="on",
        DARKROOM_MODEL_NAMES=str(names),
        DARKROOM_URL_ALLOWLIST="127.0.0.1",
        DARKROOM_COOLDOWN_SECONDS="45",
        **{f"DARKROOM_{name.upper()}_METRICS_PORT": str(port) for name, port in ports.items()},
    )
    with outside(_answer) as world:
        stack.start()
        try:
            monitor = stack.key("--scope", "monitor")
            config = config_for(folder, {"api": stack.port, **ports}, monitor)
            Prometheus.install()
            (port,) = free_ports(1)
            prometheus = Prometheus(folder / "prometheus", port, config)
            prometheus.start()
            try:
                key = stack.key("--scope", "user")
                yield Watched(stack, prometheus, key, monitor, ports, world.url)
            finally:
                prometheus.stop()
        finally:
            stack.stop()


def config_for(folder: Path, ports: dict[str, int], monitor_key: str) -> Path:
    """The committed configuration, but for where the services are, and the key's file.

    Compose's names are not known here: each becomes 127.0.0.1 with the test's port.
    """
    shutil.copytree(CONFIG, folder / "config")
    (folder / "monitor_key").write_text(monitor_key)
    config = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
    for job in config["scrape_configs"]:
        name = job["job_name"]
        for found in job.pop("dns_sd_configs", ()):
            assert (found["names"], found["port"]) == ([name], {"api": 8000, **SERVICES}[name])
            job["static_configs"] = [{"targets": [f"127.0.0.1:{ports[name]}"]}]
        for found in job.get("http_sd_configs", ()):
            found["url"] = re.sub(
                r"//(\w+):\d+/", lambda match: f"//127.0.0.1:{ports[match[1]]}/", found["url"]
            )
        if "authorization" in job:
            job["authorization"]["credentials_file"] = str(folder / "monitor_key")
    # Its own metrics are where it listens, which is not known here.
    config["scrape_configs"] = [
        job for job in config["scrape_configs"] if job["job_name"] != "prometheus"
    ]
    written = folder / "config" / "prometheus.yml"
    written.write_text(yaml.safe_dump(config))
    return written


def wait_for(watched: Watched, expression: str, seconds: float = 200.0) -> None:
    """Until it has data."""
    eventually(lambda: watched.query(expression), seconds)
