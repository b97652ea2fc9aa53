"""What the webhooks' tests put into a ledger, and what they find there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from sqlalchemy import insert, select
from standardwebhooks import Webhook

from api.database import webhook_secrets
from api.database.database import Database
from api.database.rows import to_json
from api.database.tables import webhook_attempts, webhook_deliveries, webhook_endpoints
from api.notifier import MOST_SENDING, Notifier
from common.guarded_client import GuardedClient
from common.job_log import JobLog
from common.url_guard import UrlGuard
from tests.ledger import until


async def new_endpoint(
    database: Database,
    id: str,
    *,
    owner: str = "local",
    url: str = "https://example.org/all",
    events: tuple[str, ...] = ("completed",),
    state: str = "active",
) -> str:
    """A registered endpoint, and its secret."""
    row = {
        "id": id,
        "owner": owner,
        "url": url,
        "events": to_json(events),
        "state": state,
        "reason": "",
        "created_at": 1.0,
    }
    async with database.write() as connection:
        await connection.execute(insert(webhook_endpoints), row)
        return await webhook_secrets.add(connection, owner, id, 1.0)


async def deliveries(database: Database) -> list[dict[str, Any]]:
    """All rows, in the order of their ids."""
    query = select(webhook_deliveries).order_by(webhook_deliveries.c.id)
    async with database.read() as connection:
        return [dict(row._mapping) for row in await connection.execute(query)]


async def attempts(database: Database, delivery: str) -> list[dict[str, Any]]:
    """Those of one delivery, in their order."""
    query = (
        select(webhook_attempts)
        .where(webhook_attempts.c.delivery == delivery)
        .order_by(webhook_attempts.c.number)
    )
    async with database.read() as connection:
        return [dict(row._mapping) for row in await connection.execute(query)]


@dataclass
class Received:
    """One request that a receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes

    def verified(self, secret: str) -> Any:
        """The body, if the stock library takes the signature. Raises otherwise."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Answer:
    """What a receiver replies; `after` in seconds."""

    code: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: float = 0.0


class Receiver:
    """A real HTTP server on loopback, in this loop. `answer` says what it replies to a path."""

    def __init__(
        self, answer: Callable[[str], Answer] = lambda _: Answer(), *, port: int = 0
    ) -> None:
        self._port = port
        self.received: list[Received] = []
        self._answer = answer

    async def __aenter__(self) -> Receiver:
        config = uvicorn.Config(
            self._app,
            port=self._port,
            log_config=None,
            lifespan="off",
            ws="none",
            interface="asgi3",
        )
        self._server = uvicorn.Server(config)
        self._server.capture_signals = nullcontext  # type: ignore[assignment]
        self._task = asyncio.create_task(self._server.serve())
        await until(self._listens)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def _listens(self) -> bool:
        return self._server.started

    async def __aexit__(self, *error: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        await self._task

    async def of(self, path: str, count: int = 1) -> list[Received]:
        """The first `count` requests to `path`, once they are there."""

        async def there() -> bool:
            return sum(each.path == path for each in self.received) >= count

        await until(there, 20)
        return [each for each in self.received if each.path == path][:count]

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.received.append(Received(scope["path"], headers, body))
        answer = self._answer(scope["path"])
        await asyncio.sleep(answer.after)
        sent = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        await send({"type": "http.response.start", "status": answer.code, "headers": sent})
        await send({"type": "http.response.body", "body": answer.body})


class Clock:
    """Time that a test moves, in seconds since the epoch."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def notifying(
    database: Database,
    log: JobLog,
    *,
    clock: Callable[[], float] = time.time,
    poll_seconds: float = 0.05,
    client: GuardedClient | None = None,
) -> AsyncIterator[None]:
    """A notifier that runs meanwhile, without jitter. At its end `client` is closed."""
    client = client or GuardedClient(UrlGuard(loopback=True), connections=MOST_SENDING)
    notifier = Notifier(
        database=database,
        log=log,
        client=client,
        base="http://darkroom.test",
        clock=clock,
        chance=lambda: 0.0,
        poll_seconds=poll_seconds,
    )
    task = asyncio.create_task(notifier.run())
    yield
    task.cancel()
    await asyncio.wait([task])
    await client.close()
