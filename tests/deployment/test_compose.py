"""The compose files as a user brings them up, on a real Docker Engine, and jobs in them.

In the order of the file: the last test takes everything down.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from infra.tools import DOCKER
from tests.deployment import stand_ins
from tests.deployment.compose import Composed
from tests.e2e.stack import PLAIN, PROJECT, eventually

# Cold, images are built first: PyTorch's alone takes minutes.
pytestmark = pytest.mark.timeout(2400)

SHAPES, ECHO, SKETCH = "darkroom/shapes", "darkroom/echo", "darkroom/pencil-sketch"
PICTURE = PROJECT / "images" / "one-shape.jpg"
SETTINGS = "DARKROOM_COOLDOWN_SECONDS=5\nDARKROOM_SWEEP_SECONDS=2\nDARKROOM_GRACE_SECONDS=5\n"
SECONDS = 240.0  # for what takes a few on a machine with nothing else to do


@pytest.fixture(scope="module")
def stack(docker_host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    images = stand_ins.build(docker_host, tmp_path_factory.mktemp("stand-ins"))
    name = f"darkroom-test-{secrets.token_hex(4)}"
    stack = Composed(tmp_path_factory.mktemp("checkout"), docker_host, name, images)
    with (stack.folder / "apps.env").open("a", encoding="utf-8") as settings:
        settings.write(SETTINGS)
    stack.run("make", "secrets", f"PYTHON={sys.executable}")
    stack.compose("build", "--quiet", *stack.services())
    try:
        stack.compose("up", "--detach", *stack.services())
        eventually(lambda: ready(stack), SECONDS)
        yield stack
    finally:
        print(stack.compose("logs", "--tail", "40", check=False)[-20_000:])  # if a test failed
        stack.compose("down", "--volumes", "--remove-orphans", check=False)


def ready(stack: Composed) -> bool:
    try:
        with stack.client() as client:
            return client.get("/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def submit(stack: Composed, model: str, **fields: str) -> Any:
    with stack.client() as client, PICTURE.open("rb") as picture:
        reply = client.post(
            "/v1/predictions", data={"model": model, **fields}, files={"image": picture}
        )
    assert reply.status_code == 202, reply.text
    return reply.json()


def job(stack: Composed, id: str) -> Any:
    with stack.client() as client:
        return client.get(f"/v1/predictions/{id}").raise_for_status().json()


def ended(stack: Composed, id: str) -> Any:
    return eventually(lambda: (j := job(stack, id))["completed_at"] and j, SECONDS)


def running(stack: Composed, id: str) -> Any:
    """The consumer's container that works on the only job of its model."""
    eventually(lambda: job(stack, id)["status"] == "processing", SECONDS)
    model = job(stack, id)["model"]
    (only,) = [c for c in stack.consumers() if c["Config"]["Labels"]["darkroom.model"] == model]
    return only


def test_without_make_secrets_compose_says_to_run_it(stack: Composed) -> None:
    command = [DOCKER.path(), "compose", "--env-file", os.devnull, "config"]
    refused = stack.run(*map(str, command), check=False)
    assert refused.returncode != 0
    assert "run make secrets" in refused.stderr


def test_from_no_consumer_to_a_result_through_the_proxy_and_back_to_none(stack: Composed) -> None:
    assert stack.consumers() == []
    made = submit(stack, SHAPES)
    assert made["access_link"].startswith(stack.url)
    with stack.client() as client, client.stream("GET", made["urls"]["stream"]) as events:
        told = "".join(events.iter_text())  # until it has ended
    assert "succeeded" in told or "output" in told
    done = ended(stack, made["id"])
    assert (done["status"], done["output"]) == ("succeeded", "a yellow circle on a gray background")
    with stack.client() as client:
        del client.headers["Authorization"]
        assert client.get(made["access_link"]).text == done["output"]
    eventually(lambda: not stack.containers("label=darkroom.worker"), SECONDS)


def test_an_image_made_by_a_model_is_reached_at_the_proxy(stack: Composed) -> None:
    made = submit(stack, SKETCH)
    assert ended(stack, made["id"])["status"] == "succeeded"
    with stack.client() as client:
        del client.headers["Authorization"]
        link = client.get(made["access_link"])
        assert link.status_code == 307
        assert link.headers["location"].startswith(f"{stack.url}/darkroom/")
        picture = client.get(link.headers["location"])
    assert picture.headers["content-type"].startswith("image/")
    assert len(picture.content) > 1000


def test_a_job_outlives_the_kill_of_its_consumers_container(stack: Composed) -> None:
    made = submit(stack, ECHO, prompt="still here", delay="8")
    stack.docker("kill", running(stack, made["id"])["Id"])
    done = ended(stack, made["id"])
    assert (done["status"], done["output"], done["attempt"]) == ("succeeded", "still here", 2)


def test_a_restarted_scaler_adopts_what_runs(stack: Composed) -> None:
    made = submit(stack, ECHO, prompt="undisturbed", delay="15")
    before = running(stack, made["id"])
    stack.compose("restart", "scaler")
    done = ended(stack, made["id"])
    assert (done["status"], done["output"], done["attempt"]) == ("succeeded", "undisturbed", 1)
    # Only the scaler stops a consumer: it knows of this one, which another had started.
    eventually(lambda: not stack.containers(f"id={before['Id']}"), SECONDS)


def test_prometheus_scrapes_every_process(stack: Composed) -> None:
    def up(job: str) -> list[str]:
        with httpx2.Client(base_url=f"http://127.0.0.1:{stack.prometheus}", **PLAIN) as client:
            found = client.get("/api/v1/query", params={"query": f'up{{job="{job}"}}'}).json()
        return [each["value"][1] for each in found["data"]["result"]]

    eventually(lambda: up("api") == ["1", "1"], SECONDS)
    eventually(
        lambda: [up(job) for job in ("scaler", "recorder", "notifier")] == [["1"]] * 3, SECONDS
    )
    made = submit(stack, ECHO, delay="30")
    eventually(lambda: up("consumer") == ["1"], SECONDS)
    with stack.client() as client:
        client.post(f"/v1/predictions/{made['id']}/cancel").raise_for_status()


def test_every_process_that_is_asked_says_that_it_is_well(stack: Composed) -> None:
    def ill() -> list[str]:
        asked = [c for c in stack.containers("status=running") if "Health" in c["State"]]
        assert len(asked) == 10  # two of them API processes
        return [c["Name"] for c in asked if c["State"]["Health"]["Status"] != "healthy"]

    eventually(lambda: ill() == [], SECONDS)


def test_nothing_runs_as_root_or_with_powers_or_is_published_beyond_loopback(
    stack: Composed,
) -> None:
    for each in stack.containers("status=running"):
        host, name = each["HostConfig"], each["Name"]
        assert each["Config"]["User"].partition(":")[0] not in ("", "root", "0"), name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert not host["Privileged"], name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name
        assert host["ReadonlyRootfs"] or "kafka" in name, name
        ports = [port for ports in host["PortBindings"].values() for port in ports]
        assert {port["HostIp"] for port in ports} <= {"127.0.0.1"}, name


def test_consumers_hold_no_password_of_the_ledger_and_no_key(stack: Composed) -> None:
    (template,) = stack.containers("label=darkroom.template")
    environment = "\n".join(template["Config"]["Env"])
    for secret in ("POSTGRES_PASSWORD", "DARKROOM_ADMIN_KEY", "DARKROOM_MONITOR_KEY"):
        assert stack.setting(secret) not in environment


def test_down_leaves_no_trace(stack: Composed) -> None:
    made = submit(stack, ECHO, delay="60")
    running(stack, made["id"])
    stack.compose("down", "--volumes")
    assert stack.traces() == []
