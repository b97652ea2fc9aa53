"""Servers that may be asked redirect inside, and names turn inside: nobody there hears of it."""

from __future__ import annotations

from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.database.accepting import Accepting
from api.database.database import Database
from api.notifier import MOST_SENDING
from common.errors import BadInput
from common.guarded_client import GuardedClient, Resolver
from common.job import JobSpec
from common.job_log import JobLog
from common.object_store import open_object_store
from common.url_guard import UrlGuard
from consumers.fetching import Fetching
from tests.integration.ledger.conftest import log, log_url
from tests.integration.ledger.test_notifier import ended
from tests.integration.test_guarded_client import naming
from tests.ledger import accepting, database, until
from tests.listening import OK, Heard, listening
from tests.webhooks import Clock, attempts, deliveries, notifying

pytestmark = pytest.mark.anyio

__all__ = ["accepting", "database", "log", "log_url"]


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/ledger.sqlite"


PUBLIC = "127.0.0.2"  # stands for a public address: the one that the guard is told to let through
INSIDE = "127.0.0.1"
STATUSES = (301, 302, 303, 307, 308)
# What a redirect says, where PORT is the trap's. inside.example is a name of INSIDE.
LOCATIONS = (
    "http://127.0.0.1:PORT/",
    "//127.0.0.1:PORT/",
    "HTTP://127.0.0.1:PORT/",
    "https://127.0.0.1:PORT/",
    "http://2130706433:PORT/",
    "http://0x7f000001:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://127.1:PORT/",
    "http://[::1]:PORT/",
    "//[::1]:PORT/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "//[::ffff:7f00:1]:PORT/",
    "http://[64:ff9b::7f00:1]:PORT/",
    "http://[2002:7f00:1::]:PORT/",
    "http://a:b@127.0.0.1:PORT/",
    "http://127.0.0.2@127.0.0.1:PORT/",
    "//127.0.0.2@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT\\@127.0.0.2/",
    "/\\127.0.0.1:PORT/",
    "http://127%2e0.0.1:PORT/",
    "http://127。0。0。1:PORT/".encode().decode("latin-1"),
    "http://localhost:PORT/",
    "http://a.localhost:PORT/",
    "http://inside.example:PORT/",
    "//inside.example:PORT/",
)
# Those that any client understands, and that lead to the trap.
PLAIN = ("http://127.0.0.1:PORT/", "//127.0.0.1:PORT/", "//inside.example:PORT/")
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
Image = Callable[[str], Awaitable[str]]
HOPS = (0, 2)  # redirects to itself, by a relative URL, before the one that leads away


@dataclass
class World:
    """Redirects at `url`/STATUS/PLACE/HOPS, and a trap inside."""

    url: str
    inside: list[Heard]

    @property
    def heard(self) -> int:
        return sum(each.connections for each in self.inside)

    def urls(self, locations: tuple[str, ...] = LOCATIONS) -> list[str]:
        return [
            f"{self.url}/{status}/{LOCATIONS.index(location)}/{hops}"
            for status in STATUSES
            for location in locations
            for hops in HOPS
        ]


@asynccontextmanager
async def redirecting() -> AsyncIterator[World]:
    async with listening(OK) as trap, listening(OK, host="::1", port=trap.port) as sixth:

        async def answer(_: StreamReader, writer: StreamWriter) -> None:
            path = server.requests[-1].split(" ")[1]
            status, place, hops = path.strip("/").split("/")
            there = LOCATIONS[int(place)].replace("PORT", str(trap.port))
            where = there if hops == "0" else str(int(hops) - 1)
            head = f"HTTP/1.1 {status} Moved\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n"
            writer.write(head.encode("latin-1"))
            await writer.drain()
            writer.close()

        async with listening(answer, host=PUBLIC) as server:
            yield World(server.url, [trap, sixth])


def guarded(resolver: Resolver, allowed: str = PUBLIC) -> GuardedClient:
    return GuardedClient(UrlGuard(allowed), resolver=resolver, connections=MOST_SENDING)


@asynccontextmanager
async def images(folder: Path, client: GuardedClient) -> AsyncIterator[Image]:
    """What fails the job of an image's URL, as a consumer fetches it: a code, or ""."""
    store = await open_object_store(f"file://{folder}")
    fetching = Fetching(store, client, most_bytes=1000, pause_seconds=0.05)

    async def end(url: str) -> str:
        try:
            await fetching.fetch(JobSpec(model="a/b", inputs={"image": url}))
        except BadInput as error:
            return error.code
        return ""

    yield end
    await client.close()


async def test_no_redirect_of_an_images_server_leads_inside(tmp_path: Path) -> None:
    resolve, _ = naming(INSIDE)
    async with redirecting() as world, images(tmp_path, guarded(resolve)) as end:
        ends = {url: await end(url) for url in world.urls()}

    assert {url: code for url, code in ends.items() if code != "image_url_refused"} == {}
    assert world.heard == 0


async def test_the_same_redirects_lead_inside_where_nobody_guards(tmp_path: Path) -> None:
    resolve, _ = naming(INSIDE)
    everyone = guarded(resolve, "127.0.0.0/8")
    async with redirecting() as world, images(tmp_path, everyone) as end:
        ends = [await end(url) for url in world.urls(PLAIN)]

    assert set(ends) == {""}
    assert world.heard > 0


async def test_no_redirect_of_a_receiver_leads_inside(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    resolve, _ = naming(INSIDE)
    async with redirecting() as world:
        for url in world.urls(PLAIN):
            await ended(database, accepting, url)
        async with notifying(database, log, client=guarded(resolve)):
            await until(lambda: all_attempted(database, 1))
        kept = [await attempts(database, row["id"]) for row in await deliveries(database)]

    assert {first["code"] for first, *_ in kept} == set(STATUSES)
    assert world.heard == 0


async def test_a_name_that_turns_inside_before_the_next_try_of_an_image_is_refused(
    tmp_path: Path,
) -> None:
    resolve, asked = naming(PUBLIC, INSIDE)
    async with turning() as (outer, inner), images(tmp_path, guarded(resolve)) as end:
        code = await end(f"http://rebinding.example:{outer.port}/")

    assert (code, asked) == ("image_url_refused", ["rebinding.example"] * 2)
    assert (outer.connections, inner.connections) == (1, 0)


async def test_a_name_that_turns_inside_behind_its_own_redirect_is_refused(tmp_path: Path) -> None:
    resolve, asked = naming(PUBLIC, INSIDE)
    moved = b"HTTP/1.1 302 Moved\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"
    async with turning(moved) as (outer, inner), images(tmp_path, guarded(resolve)) as end:
        code = await end(f"http://rebinding.example:{outer.port}/")

    assert (code, asked) == ("image_url_refused", ["rebinding.example"] * 2)
    assert (outer.connections, inner.connections) == (1, 0)


async def test_a_name_that_turns_inside_before_the_next_attempt_of_a_webhook_is_refused(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    resolve, asked = naming(PUBLIC, INSIDE)
    async with turning() as (outer, inner):
        await ended(database, accepting, f"http://rebinding.example:{outer.port}/")
        clock = Clock()
        async with notifying(database, log, clock=clock, client=guarded(resolve)):
            await until(lambda: all_attempted(database, 1))
            clock.now += 3600
            await until(lambda: all_attempted(database, 2))
        [delivery] = await deliveries(database)
        first, second, *_ = await attempts(database, delivery["id"])

    assert (first["code"], second["code"]) == (503, None)
    assert "not public" in second["reply"]
    assert asked == ["rebinding.example"] * 2
    assert (outer.connections, inner.connections) == (1, 0)


@asynccontextmanager
async def turning(reply: bytes = BUSY) -> AsyncIterator[tuple[Heard, Heard]]:
    """Two servers at one port, outside and inside; each connection of the first has one reply."""

    async def answer(_: StreamReader, writer: StreamWriter) -> None:
        writer.write(reply)
        await writer.drain()
        writer.close()

    async with (
        listening(answer, host=PUBLIC) as outer,
        listening(OK, host=INSIDE, port=outer.port) as inner,
    ):
        yield outer, inner


async def all_attempted(database: Database, times: int) -> bool:
    return all(row["attempts"] >= times for row in await deliveries(database))
