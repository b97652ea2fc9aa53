"""What the manifests say, done by hand: their commands, variables and probes, on real servers."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from cli.kubernetes.choices import Choices
from cli.kubernetes.manifests import manifests
from cli.kubernetes.names import object_name
from cli.kubernetes.pods import CATALOGUE, METRICS_PORT
from common.catalogue import read_catalogue
from common.job_log import open_job_log
from common.job_log.kafka.cluster import read_cluster
from common.settings import PROJECT, Settings
from tests.e2e.stack import PLAIN, Stack, eventually, free_port, on_servers

MODEL = "Me/Echo.v2"  # a topic has to escape it, and no name of Kubernetes can hold it
PARTITIONS = 3
PYTHON = Path(sys.executable).parent
Object = dict[str, Any]


class Cluster:
    """The objects, and the processes that their Deployments stand for."""

    def __init__(self, stack: Stack, objects: list[Object], secret: Mapping[str, str]) -> None:
        self.stack = stack
        self.stack.command = []
        self.objects = {(one["kind"], one["metadata"]["name"]): one for one in objects}
        self.secret = secret
        self.metrics_port = free_port()  # a pod's are its own, and this machine's are not
        self.models = stack.folder / "model_names.txt"
        self.models.write_text(
            self.objects["ConfigMap", "darkroom-models"]["data"]["model_names.txt"]
        )

    def container(self, name: str) -> Object:
        spec = self.objects["Deployment", name]["spec"]["template"]["spec"]
        container: Object = spec["containers"][0]
        return container

    def start(self, name: str) -> subprocess.Popen[bytes]:
        self.stack.environment = self._environment(self.container(name))
        return self.stack.spawn(self.container(name)["command"])

    def probed(self, command: list[str]) -> bool:
        """Whether a command that is a probe says that all is well."""
        words = [word.replace(str(METRICS_PORT), str(self.metrics_port)) for word in command]
        path = {"PATH": f"{PYTHON}:/usr/bin:/bin"}
        return subprocess.run(words, env=path, capture_output=True, timeout=60).returncode == 0

    def triggers(self) -> list[dict[str, str]]:
        spec = self.objects["ScaledObject", object_name(MODEL)]["spec"]
        return [trigger["metadata"] for trigger in spec["triggers"]]

    def submit(self, **fields: str) -> str:
        """The id of a job that needs no image."""
        with self.stack.client() as client:
            reply = client.post("/v1/predictions", json={"model": MODEL, "input": {}, **fields})
        assert reply.status_code == 202, reply.text
        return str(reply.json()["id"])

    def _environment(self, container: Object) -> dict[str, str]:
        """As the kubelet makes it, but on loopback, and with folders of this machine."""
        made = {"PATH": f"{PYTHON}:/usr/bin:/bin", "PYTHONPATH": str(PROJECT)}
        for source in container["envFrom"]:
            made |= self.objects["ConfigMap", source["configMapRef"]["name"]]["data"]
        for one in container["env"]:
            if "value" in one:
                made[one["name"]] = one["value"]
            else:
                reference = one["valueFrom"]["secretKeyRef"]
                if reference["key"] in self.secret or not reference.get("optional"):
                    made[one["name"]] = self.secret[reference["key"]]
        assert made["DARKROOM_MODEL_NAMES"] == CATALOGUE
        here = {"DARKROOM_MODEL_NAMES": str(self.models), "HOME": str(self.stack.folder)}
        if "DARKROOM_METRICS_PORT" in made:
            here["DARKROOM_METRICS_PORT"] = str(self.metrics_port)
        return {**made, **here, "DARKROOM_HOST": "127.0.0.1"}


@pytest.fixture(scope="module")
def cluster(servers: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    stack = on_servers(folder, servers)
    secret = {name: stack.environment[name] for name in servers}
    catalogue = folder / "written.txt"
    catalogue.write_text(f"{MODEL} task=echo max=9\n")
    prefix = read_cluster(secret["DARKROOM_JOB_LOG_URL"]).prefix
    # Names of a cluster; the Secret leads the processes to where the servers really are.
    settings = Settings.model_validate(
        {
            "job_log_url": f"kafka://kafka:9092?prefix={prefix}",
            "object_store_url": "s3://darkroom?endpoint=http://minio:9000",
            "database_url": "postgresql+asyncpg://postgres/darkroom",
            "port": stack.port,
            "partitions": PARTITIONS,
        }
    )
    files = manifests(settings, read_catalogue(catalogue), Choices(project=str(PROJECT)))
    cluster = Cluster(stack, [one for objects in files.values() for one in objects], secret)
    for name in ("darkroom-api", "darkroom-recorder", "darkroom-notifier"):
        cluster.start(name)
    eventually(stack.ready)
    yield cluster
    stack.stop()


def test_every_command_runs_until_it_is_asked_to_stop(cluster: Cluster) -> None:
    """Each as the kubelet starts it: a typo in a command, a name or a variable ends it."""
    consumer = cluster.start(object_name(MODEL))
    assert cluster.stack.ended(cluster.submit())["status"] == "succeeded"

    consumer.send_signal(signal.SIGTERM)
    assert consumer.wait(timeout=60) == 0
    cluster.stack.processes.remove(consumer)
    assert all(process.poll() is None for process in cluster.stack.processes)
    there = {"written.txt", "model_names.txt", "output.txt"}  # of this test
    assert {file.name for file in cluster.stack.folder.iterdir()} == there


def test_the_probes_of_the_api_answer(cluster: Cluster) -> None:
    container = cluster.container("darkroom-api")
    assert container["ports"] == [{"name": "http", "containerPort": cluster.stack.port}]
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        get = container[kind]["httpGet"]
        assert get["port"] == "http"
        answer = httpx2.get(cluster.stack.url + get["path"], timeout=30, **PLAIN)
        assert answer.status_code == 200


def test_the_probes_of_a_consumer_know_whether_it_is_there(cluster: Cluster) -> None:
    container = cluster.container(object_name(MODEL))
    commands = [container[kind]["exec"]["command"] for kind in ("startupProbe", "livenessProbe")]
    assert not any(cluster.probed(command) for command in commands)
    consumer = cluster.start(object_name(MODEL))
    for command in commands:
        eventually(lambda command=command: cluster.probed(command))  # type: ignore[misc]

    consumer.send_signal(signal.SIGSTOP)
    assert not any(cluster.probed(command) for command in commands)
    consumer.send_signal(signal.SIGCONT)
    consumer.send_signal(signal.SIGTERM)
    assert consumer.wait(timeout=60) == 0
    cluster.stack.processes.remove(consumer)


def test_keda_looks_at_the_group_and_the_topics_that_consumers_use(cluster: Cluster) -> None:
    """A trigger with another name would see no lag, and never start a consumer."""
    consumer = cluster.start(object_name(MODEL))
    cluster.stack.ended(cluster.submit())
    group = {trigger["consumerGroup"] for trigger in cluster.triggers()}
    topics = {trigger["topic"] for trigger in cluster.triggers()}
    every = {(topic, number) for topic in topics for number in range(PARTITIONS)}
    assert len(topics) == 3

    # A consumer commits in partitions that had no message too, so that KEDA need not guess.
    eventually(lambda: asyncio.run(committed(cluster, *group)).keys() == every, 90.0)
    assert group < asyncio.run(groups(cluster))
    assert asyncio.run(lag(cluster)) == {"high": 0, "normal": 0, "low": 0}

    consumer.send_signal(signal.SIGTERM)
    assert consumer.wait(timeout=60) == 0
    cluster.stack.processes.remove(consumer)
    cluster.submit(priority="high")
    cluster.submit()
    cluster.submit()
    waiting = {"high": 1, "normal": 2, "low": 0}
    eventually(lambda: asyncio.run(lag(cluster)) == waiting, 30.0)


async def groups(cluster: Cluster) -> set[str]:
    """Every consumer group that the brokers know."""
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers(cluster))
    await admin.start()
    try:
        return {name for name, *_ in await admin.list_consumer_groups()}
    finally:
        await admin.close()


async def committed(cluster: Cluster, group: str) -> dict[tuple[str, int], int]:
    """What the group committed, by topic and partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers(cluster))
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    return {(one.topic, one.partition): offset.offset for one, offset in found.items()}


async def lag(cluster: Cluster) -> dict[str, int]:
    """What each trigger sees: ends less commits, by the names that it has and nothing else."""
    log = await open_job_log(f"kafka://{brokers(cluster)}")
    try:
        seen = {}
        for trigger in cluster.triggers():
            topic = trigger["topic"]
            (ends,) = (await log.ends([topic])).values()
            offsets = await committed(cluster, trigger["consumerGroup"])
            done = sum(offset for (name, _), offset in offsets.items() if name == topic)
            seen[topic.rpartition(".")[2]] = sum(ends) - done
    finally:
        await log.close()
    return seen


def brokers(cluster: Cluster) -> str:
    return urlsplit(cluster.secret["DARKROOM_JOB_LOG_URL"]).netloc
