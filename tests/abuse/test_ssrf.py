"""No URL that a user gives, for an image or a webhook, reaches a listener inside."""

from __future__ import annotations

import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.abuse.trap import NAMES, SPELLINGS, Trap, trap
from tests.e2e.stack import Stack, embedded, eventually
from tests.machine import lacking, low_ports

ECHO = "darkroom/echo"
HOOK = "https://hooks.example.org/"


@pytest.fixture(scope="module")
def listeners() -> Iterator[Trap]:
    try:
        with low_ports(), trap() as listening:
            yield listening
    except OSError as error:
        lacking(f"ports 80, 443 and 8080 are needed: {error}")


@pytest.fixture(scope="module")
def own_hosts(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Before a command: it sees a /etc/hosts in which NAMES mean what they may in the DNS.

    Empty where the system does not allow it.
    """
    hosts = tmp_path_factory.mktemp("hosts") / "hosts"
    hosts.write_text("".join(f"{address} {name}\n" for name, address in NAMES.items()))
    mounted = f'mount --bind {hosts} /etc/hosts && exec "$@"'
    before = ["unshare", "--mount", "sh", "-c", mounted, "sh"]
    if shutil.which("unshare") is None:
        return []
    tried = subprocess.run([*before, "true"], capture_output=True, check=False)
    return [] if tried.returncode else before


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, own_hosts: list[str]) -> Iterator[Stack]:
    """As on a server: with keys, so that loopback is nobody's, and no allowlist."""
    folder = tmp_path_factory.mktemp("guarded")
    names = folder / "model_names.txt"
    names.write_text(f"{ECHO} task=echo\n")
    running = embedded(folder, DARKROOM_AUTH="on", DARKROOM_MODEL_NAMES=str(names))
    running.command = [*own_hosts, *running.command]
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[httpx2.Client]:
    with stack.client() as client:
        client.headers["Authorization"] = f"Bearer {stack.key()}"
        yield client


def test_no_spelling_of_an_address_inside_is_accepted(
    listeners: Trap, client: httpx2.Client
) -> None:
    accepted = []
    for url in SPELLINGS:
        for path, body in (
            ("/v1/predictions", {"model": ECHO, "input": {"prompt": "a", "image": url}}),
            ("/v1/predictions", {"model": ECHO, "input": {"prompt": "a"}, "webhook": url}),
            ("/v1/webhooks", {"url": url}),
        ):
            reply = client.post(path, json=body)
            if not 400 <= reply.status_code < 500 or not reply.json()["detail"]:
                accepted.append((path, body))
    assert accepted == []
    assert listeners.heard == 0


def test_no_name_of_an_address_inside_is_connected_to(
    listeners: Trap, client: httpx2.Client, own_hosts: list[str]
) -> None:
    if not own_hosts:
        lacking("a file of hosts for some processes alone needs Linux, root and its mounts")
    for name in NAMES:
        url = f"http://{name}/"
        image = submitted(client, input={"prompt": "a", "image": url})
        told = submitted(client, input={"prompt": "a"}, webhook=url)
        assert ended(client, image)["error_code"] == "image_url_refused"
        assert ended(client, told)["status"] == "succeeded"
        attempt = attempted(client, told)
        assert attempt["code"] is None
        assert "not public" in attempt["reply"]
    assert listeners.heard == 0


def submitted(client: httpx2.Client, **fields: object) -> str:
    reply = client.post("/v1/predictions", json={"model": ECHO, **fields})
    assert reply.status_code == 202, reply.text
    id: str = reply.json()["id"]
    return id


def ended(client: httpx2.Client, id: str) -> Any:
    def look() -> Any:
        shown = client.get(f"/v1/predictions/{id}").json()
        return shown if shown["status"] in ("succeeded", "failed", "canceled") else None

    return eventually(look)


def attempted(client: httpx2.Client, job: str) -> Any:
    """The first attempt to tell of the job."""

    def look() -> Any:
        listed = client.get("/v1/webhooks/deliveries", params={"prediction": job}).json()
        [delivery] = listed["results"] or [None]
        return delivery if delivery and delivery["attempts"] else None

    delivery = eventually(look)
    shown = client.get(f"/v1/webhooks/deliveries/{delivery['id']}").json()
    return shown["history"][0]


def test_the_spellings_reach_the_trap_where_nobody_guards(listeners: Trap) -> None:
    before = listeners.heard
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for url in SPELLINGS:
        if "127" not in url and "::1" not in url and "host" not in url:
            continue  # it would leave this machine
        try:
            opener.open(url, timeout=1).close()
        except (OSError, ValueError, HTTPException, urllib.error.URLError):
            continue
    assert listeners.heard - before > 10


def test_nothing_of_the_stack_reads_a_file_by_url(client: httpx2.Client, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"s")
    reply = client.post(
        "/v1/predictions", json={"model": ECHO, "input": {"image": secret.as_uri()}}
    )
    assert reply.status_code == 422
