"""An embedded installation, moved to the servers in the middle of its work, goes on there."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from tests.e2e.stack import PLAIN, Json, Stack, embedded, eventually, on_servers
from tests.faults.receiver import Letter, Receiver, read_letters

pytestmark = pytest.mark.timeout(900)
ECHO = "darkroom/echo"
SETTINGS = {
    "DARKROOM_AUTH": "on",
    "DARKROOM_SLOTS": "2",
    "DARKROOM_URL_ALLOWLIST": "127.0.0.1",
    "DARKROOM_GRACE_SECONDS": "0.5",  # what runs when it is stopped does not end
}


@dataclass(frozen=True)
class User:
    """Who holds a key of one of the two installations: the very same one."""

    stack: Stack
    key: str

    def ask(self, method: str, path: str, **how: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.key}", **how.pop("headers", {})}
        with httpx2.Client(base_url=self.stack.url, timeout=90, **PLAIN) as client:
            reply = client.request(method, path, headers=headers, **how)
        assert reply.is_success or reply.is_redirect, reply.text
        return reply

    def json(self, method: str, path: str, **how: Any) -> Json:
        found: Json = self.ask(method, path, **how).json()
        return found

    def submit(self, model: str = ECHO, *, headers: Mapping[str, str] = {}, **asked: Any) -> Json:
        body = {"model": model, "input": asked.pop("input", {}), **asked}
        return self.json("POST", "/v1/predictions", json=body, headers=headers)

    def sketch(self, **fields: str) -> Json:
        form = {"model": "darkroom/pencil-sketch", **fields}
        return self.json("POST", "/v1/predictions", data=form, files={"image": picture()})

    def shows(self, job: Json, *states: str) -> Json:
        """The prediction, as soon as it is in one of these states."""

        def look() -> Json | None:
            now = self.json("GET", f"/v1/predictions/{job['id']}")
            return now if now["status"] in states else None

        return eventually(look)

    def result(self, job: Json) -> tuple[str, bytes]:
        """What the access link leads to, asked without a key."""
        path = httpx2.URL(job["access_link"]).path
        reply = httpx2.get(f"{self.stack.url}{path}", follow_redirects=True, timeout=90, **PLAIN)
        assert reply.status_code == 200, reply.text
        return reply.headers["content-type"], reply.content


def darkroom(stack: Stack, *words: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "cli", *words],
        cwd=stack.folder,
        env=stack.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "navy").save(buffer, "PNG")
    return buffer.getvalue()


def test_an_embedded_installation_goes_on_on_the_servers(
    servers: dict[str, str], tmp_path: Path
) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    old = embedded(tmp_path / "old", **SETTINGS)
    new = on_servers(tmp_path / "new", servers, **SETTINGS)
    key = json.loads(darkroom(old, "keys", "create", "--json"))["key"]
    is_up = False

    def answer(_: Letter) -> int:
        return 204 if is_up else 503

    with Receiver(tmp_path / "letters", answer=answer) as receiver:
        before, after = User(old, key), User(new, key)
        old.start()

        once = {"Idempotency-Key": "once"}
        said = before.submit(input={"prompt": "said"}, headers=once)
        drawn = before.sketch()
        before.shows(said, "succeeded")
        before.shows(drawn, "succeeded")
        results = before.result(said), before.result(drawn)
        hook = before.json("POST", "/v1/webhooks", json={"url": "https://example.org/all"})
        secret = before.json("GET", "/v1/webhooks/default/secret")
        receiver.secrets = [secret["key"]]
        running = before.submit(input={"prompt": "running", "delay": 30})
        waiting = before.submit(input={"prompt": "waiting"}, priority="low")
        before.shows(running, "processing")
        told = before.sketch(webhook=receiver.url)
        # Told once, in vain: five seconds later it would be told again.
        [letter] = eventually(lambda: read_letters(receiver.path))
        old.stop()

        plan = json.loads(darkroom(new, "migrate", "--from", str(old.folder / "data"), "--json"))
        assert plan["waiting"] == 2
        darkroom(new, "migrate", "--from", str(old.folder / "data"), "--apply")
        is_up = True
        new.start()
        try:
            again = after.ask(
                "POST",
                "/v1/predictions",
                json={"model": ECHO, "input": {"prompt": "said"}},
                headers=once,
            )
            assert again.json()["id"] == said["id"]
            assert again.headers["idempotent-replayed"] == "true"
            assert (after.result(said), after.result(drawn)) == results
            assert after.json("GET", "/v1/webhooks/default/secret") == secret
            [listed] = after.json("GET", "/v1/webhooks")["results"]
            assert listed["id"] == hook["id"]
            for job in (running, waiting):
                ended = after.shows(job, "succeeded", "failed", "canceled")
                assert (ended["status"], ended["output"]) == ("succeeded", job["input"]["prompt"])
            letters = eventually(lambda: _taken(receiver, letter))
            assert letters[-1].verified
            assert json.loads(letters[-1].body)["id"] == told["id"]
        finally:
            new.stop()


def _taken(receiver: Receiver, first: Letter) -> list[Letter]:
    """What came after the first letter, which was refused."""
    return [one for one in read_letters(receiver.path) if one.id == first.id][1:]
