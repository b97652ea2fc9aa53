"""All that Darkroom does, done once on servers with passwords, with a canary for every secret."""

from __future__ import annotations

import asyncio
import re
import secrets
import subprocess
import sys
import time
from contextlib import suppress

import asyncpg
import httpx2
import psutil

from api.access.keys import Scope, make_key
from api.database import keys
from api.database.database import Database
from tests.abuse.canaries import Outside, Overheard, Secret
from tests.abuse.secured import Secured
from tests.e2e.stack import Json, Stack, eventually
from tests.pictures import plain_png

# Models: one that is always there, breaking_model.py, and one that the hub does not have.
ECHO, BREAKS, ABSENT = "darkroom/echo", "me/breaks", "nobody/absent"
_SECONDS = 400.0  # for anything, on a busy machine
_KEY = re.compile(r"dk_[0-9a-f]{12}_([0-9a-f]{64})")
# Where the owner of a job or a webhook reads what they gave away themselves.
_JOBS = r"owner (GET|POST|DELETE) /v1/(predictions|dead-letters)\S* 20\d|letter \S+"
_WEBHOOKS = r"owner (GET|POST|DELETE) /v1/webhooks\S* 20\d"


class Journey:
    """Steps that are to be taken in their order. `secrets` grows with each."""

    def __init__(self, stack: Stack, servers: Secured, world: Outside, held: list[Secret]) -> None:
        self.stack, self._servers, self._world = stack, servers, world
        self.heard = Overheard()
        self.secrets = held
        self._keys: dict[str, str] = {}

    def canary(self, name: str, shown: str = "") -> str:
        """A new secret."""
        value = f"canary{secrets.token_hex(12)}"
        self.secrets.append(Secret(name, value, shown))
        return value

    def cli(self, *words: str, key: str = "") -> str:
        """What a command prints on stdout. All that it prints is overheard."""
        ran = subprocess.run(
            [sys.executable, "-m", "cli", *words],
            env={**self.stack.environment, "DARKROOM_API_KEY": key},
            cwd=self.stack.folder,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        self.heard.hear(f"cli {' '.join(words[:2])}", ran.stdout + ran.stderr)
        return ran.stdout

    def ask(self, who: str, method: str, path: str, **sent: object) -> httpx2.Response:
        """As `who`: the name of a key, or of nobody's."""
        headers = {"Authorization": f"Bearer {self._keys[who]}"} if who in self._keys else {}
        with self.stack.client() as client:
            client.headers.update(headers)
            return self.heard.ask(who, client, method, path, **sent)

    def make_keys(self) -> None:
        """An owner's, a stranger's, a monitor's; one that is rotated and one that is revoked."""
        self._shown("owner", self.cli("keys", "create"), "cli keys create")
        before = asyncio.run(self._made("stranger", "monitor", "before", "revoked"))
        self._shown(
            "rotated", self.cli("keys", "rotate", before["before"], "--json"), "cli keys rotate"
        )
        self.cli("keys", "revoke", before["revoked"])
        self.cli("keys", "list", "--json")

    def _shown(self, who: str, output: str, shown: str = "") -> str:
        """Remember the key that stands there. Its id."""
        found = _KEY.search(output)
        assert found is not None, output
        self._keys[who] = found[0]
        self.secrets.append(Secret(f"the key {who}", found[1], shown))
        return found[0].split("_")[1]

    async def _made(self, *names: str) -> dict[str, str]:
        """New keys, straight in the ledger; their ids by their names."""
        database = await Database.open(self._servers.settings["DARKROOM_DATABASE_URL"])
        ids = {}
        for name in names:
            scope = Scope.MONITOR if name == "monitor" else Scope.USER
            key, secret = make_key(scopes=frozenset({scope}), now=time.time())
            async with database.write() as connection:
                await keys.add(connection, key)
            ids[name] = self._shown(name, secret)
        await database.close()
        return ids

    def make_webhooks(self) -> None:
        """One that is registered, and the owner's own secret; both are rotated."""
        default = "/v1/webhooks/default/secret"
        self._signs(
            "default", self.ask("owner", "GET", default), "key", rf"owner GET {default} 200"
        )
        rotated = self.ask("owner", "POST", f"{default}/rotate", json={"overlap_seconds": 60})
        self._signs("default, rotated", rotated, "key", rf"owner \S+ {default}(/rotate)? 200")
        token = self.canary("the URL of a webhook", _WEBHOOKS)
        url = f"{self._world.url}/takes?token={token}"
        made = self.ask("owner", "POST", "/v1/webhooks", json={"url": url})
        self._signs("webhook", made, "secret", "owner POST /v1/webhooks 201")
        path = f"/v1/webhooks/{made.json()['id']}"
        rotated = self.ask("owner", "POST", f"{path}/rotate", json={"overlap_seconds": 60})
        self._signs("webhook, rotated", rotated, "key", rf"owner POST {path}/rotate 200")
        self.ask("owner", "POST", f"{path}/test")
        self.ask("owner", "POST", f"{path}/pause")
        self.ask("owner", "POST", f"{path}/resume")
        refused = f"http://me:{self.canary('a password in the URL of a webhook')}@127.0.0.1/"
        self.ask("owner", "POST", "/v1/webhooks", json={"url": refused})
        self.submit(BREAKS, "/wide.png", webhook=refused)

    def _signs(self, name: str, reply: httpx2.Response, member: str, shown: str) -> None:
        value = reply.raise_for_status().json()[member].removeprefix("whsec_")
        self.secrets.append(Secret(f"the secret {name}", value, shown))

    def submit(self, model: str, path: str, *, webhook: str | None = None) -> Json:
        """A job of the owner's with an image of the world's, whose URL has a token."""
        token = self.canary(f"the URL of {path}", "" if webhook else _JOBS)
        image = f"{self._world.url}{path}?token={token}"
        asked = {"model": model, "input": {"image": image}, "metadata": {"about": path}}
        if webhook:
            asked["webhook"] = webhook
        job: Json = self.ask("owner", "POST", "/v1/predictions", json=asked).json()
        return job

    def _accepted(self, **asked: object) -> Json:
        """The owner's new job."""
        reply = self.ask("owner", "POST", "/v1/predictions", json=asked)
        assert reply.status_code == 202, reply.text
        job: Json = reply.json()
        return job

    def run_jobs(self) -> list[Json]:
        """Jobs that succeed, fail and die, with webhooks that are taken, refused and not heard."""
        absent = self.submit(ABSENT, "/wide.png")
        jobs = [
            self.submit(ECHO, "/wide.png"),
            self.submit(BREAKS, "/wide.png"),
            self.submit(BREAKS, "/tall.png"),
            self.submit(ECHO, "/gone.png"),
            self.submit(ECHO, "/text.png"),
            self.submit(ECHO, "/moved.png"),
            self._told("/refuses"),
            self._told("/moves"),
            self._told(":1"),
            self._long(),
        ]
        password = self.canary("a password in the URL of an image")
        inside = {"image": f"http://me:{password}@127.0.0.1/"}
        self.ask("owner", "POST", "/v1/predictions", json={"model": ECHO, "input": inside})
        eventually(lambda: self._world.asked("/api/models"), _SECONDS)
        [token] = [secret.value for secret in self.secrets if secret.name == "HF_TOKEN"]
        assert any(token in headers for _, headers, _ in self._world.requests)
        self.ask("owner", "POST", f"/v1/predictions/{absent['id']}/cancel")
        jobs = [self.ended(job["id"]) for job in jobs]
        assert [job["status"] for job in jobs] == ["succeeded", *["failed"] * 5, *["succeeded"] * 4]
        for job in jobs:
            token = job["access_link"].rpartition("/")[2]
            self.secrets.append(Secret(f"the link of {job['metadata']}", token, _JOBS))
        return jobs

    def _told(self, path: str) -> Json:
        """A job whose own webhook goes there."""
        token = self.canary(f"the URL of the webhook {path}", _WEBHOOKS)
        base = "http://127.0.0.1" if path.startswith(":") else self._world.url
        return self._accepted(
            model=ECHO,
            input={"prompt": "a"},
            metadata={"about": path},
            webhook=f"{base}{path}?token={token}",
        )

    def _long(self) -> Json:
        """A job with a long text."""
        return self._accepted(
            model=ECHO, input={"prompt": "a" * 20_000}, metadata={"about": "long"}
        )

    def ended(self, id: str) -> Json:
        """The owner's job once it has ended."""

        def look() -> Json | None:
            job: Json = self.ask("owner", "GET", f"/v1/predictions/{id}").json()
            return job if job["status"] in ("succeeded", "failed", "canceled") else None

        return eventually(look, _SECONDS)

    def look_everywhere(self, jobs: list[Json]) -> None:
        """As its owner, as others and as nobody, at what there is and at what there is not."""
        file = self.ask("owner", "POST", "/v1/files", files={"content": ("a.png", plain_png(20))})
        [delivery, *_] = eventually(self._attempted, _SECONDS)
        paths = [f"/v1/predictions/{job['id']}" for job in jobs]
        paths += [f"{path}/events" for path in paths]
        paths += [f"/v1/files/{file.json()['id']}", f"/v1/webhooks/deliveries/{delivery['id']}"]
        paths += ["/v1/predictions", "/v1/files", "/v1/webhooks", "/v1/webhooks/deliveries"]
        paths += ["/v1/dead-letters", "/v1/dead-letters/groups", "/v1/models", f"/v1/models/{ECHO}"]
        paths += ["/", "/docs", "/openapi.json", "/metrics", "/livez", "/readyz", "/nothing"]
        for who in ("owner", "stranger", "before", "nobody"):
            for path in paths:
                self.ask(who, "GET", path)
        assert self.ask("monitor", "GET", "/metrics").status_code == 200
        for job in jobs:
            self.ask("owner", "GET", re.sub(r".*(?=/v1/)", "", job["access_link"]))
        key = self._keys["owner"]
        self.ask("owner", "GET", f"/v1/nothing?key={key}")
        self.ask("owner", "GET", f"/v1/predictions?cursor={key}")
        self.ask("owner", "POST", f"/livez?key={key}")
        self.ask("owner", "POST", "/v1/predictions", json={"model": ECHO, "key": {"a": key}})
        self.ask("owner", "POST", "/v1/predictions", content=f'{{"model": "{key}')
        self.ask("nobody", "GET", "/v1/predictions", headers={"Authorization": f"Basic {key}"})
        self.ask("nobody", "GET", "/v1/predictions", headers={"Authorization": f"Bearer {key}0"})

    def _attempted(self) -> list[Json]:
        """The deliveries that were tried and are not over, once there are three."""
        listed = self.ask("owner", "GET", "/v1/webhooks/deliveries").json()["results"]
        tried = [one for one in listed if one["attempts"] and one["state"] == "pending"]
        return tried if len(tried) >= 3 else []

    def do_again(self, jobs: list[Json]) -> None:
        """Retries, replays, resent letters, a batch, deletions, the operator's commands."""
        first, *_, last = [f"/v1/predictions/{job['id']}" for job in jobs]
        again = self.ask("owner", "POST", f"{first}/retry").json()
        self.ended(again["id"])
        self.ask("owner", "POST", "/v1/dead-letters/replay", json={"all": True})
        self.ask("owner", "POST", "/v1/webhooks/deliveries/resend", json={"state": "delivered"})
        folder = self.stack.folder / "pictures"
        folder.mkdir()
        for width in (20, 30):
            (folder / f"{width}.png").write_bytes(plain_png(width))
        batch = ["batch", str(folder), "--model", ECHO, "--url", self.stack.url]
        assert "2" in self.cli(*batch, "--json", key=self._keys["owner"])
        for path in (first, last):
            self.ask("owner", "DELETE", path)
        self.cli("doctor")
        self.cli("repair", "--apply")
        for member in self.stack.members():
            with suppress(psutil.NoSuchProcess):
                self.heard.hear("a command line", " ".join(member.cmdline()))

    def break_things(self) -> None:
        """The ledger refuses every row, then the servers go, one after the other."""
        asyncio.run(self._refuse_rows())
        self._ask_for_everything()
        assert {where[-3:] for where, _ in self.heard.said} >= {"401", "403", "404", "422", "500"}
        self.cli("keys", "create")
        self._servers.minio.stop()
        self._ask_for_everything()
        self._servers.kafka.stop()
        self._servers.postgres.stop()
        self._ask_for_everything()

    async def _refuse_rows(self) -> None:
        """As a damaged or half-migrated ledger does: its replies quote the row."""
        connection = await asyncpg.connect(
            self._servers.settings["DARKROOM_DATABASE_URL"].replace("+asyncpg", "")
        )
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        for [table] in tables:
            await connection.execute(f'ALTER TABLE "{table}" ADD CHECK (false) NOT VALID')
        await connection.close()

    def _ask_for_everything(self) -> None:
        """What writes to the ledger, and what reads the store."""
        self.submit(ECHO, "/wide.png", webhook=f"{self._world.url}/?t={self.canary('too late')}")
        url = f"{self._world.url}/{self.canary('the URL of a webhook too late')}"
        self.ask("owner", "POST", "/v1/webhooks", json={"url": url})
        self.ask("owner", "POST", "/v1/webhooks/default/secret/rotate")
        self.ask("owner", "POST", "/v1/files", files={"content": ("a.png", plain_png(21))})
        self.ask("nobody", "GET", "/readyz")
