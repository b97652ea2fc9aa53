"""Deliveries a second to a local receiver, and what they cost the recorder beside them.

python -m benchmarks.webhooks embedded
python -m benchmarks.webhooks servers

In turns, `COUNT` jobs without and with a webhook are ended by events on the log; the receiver is
another process. First all at once: the highest rates of deliveries and of jobs ended in the ledger,
where everything shares the processors that there are. Then `PER_SECOND` a second: how long an event
takes from its append until the recorder has told what came of it.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from sqlalchemy import func, select

from api.database.accepting import Accepting
from api.database.database import Database
from api.database.tables import jobs, webhook_deliveries
from benchmarks.figures import show
from common import wire
from common.events import JobSucceeded
from common.following import Follower
from common.job import Job, Output
from common.job_log import Delivery, JobLog, Start, open_job_log
from common.topic import EVENTS, UPDATES
from infra.servers import Servers
from tests.e2e.stack import Stack, embedded, on_servers
from tests.ledger import new_job

COUNT = 4000  # jobs of one turn
TURNS = 3
PER_SECOND = 500
RECEIVER_PORT = 18_431
_POLL_SECONDS = 0.05


async def receiver(
    _scope: object, receive: Callable[[], Awaitable[dict[str, object]]], send: object
) -> None:
    """Reads the body and answers 204, as cheaply as uvicorn can."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]


async def accepted(database: Database, webhook: str | None) -> list[Job]:
    accepting = Accepting(database)
    made = [new_job(webhook=webhook) for _ in range(COUNT)]
    await asyncio.gather(*(accepting.accept(job) for job in made))
    await accepting.close()
    return made


async def end_all(log: JobLog, made: list[Job], per_second: float | None = None) -> None:
    """Append the events that end them: all at once, or so many a second."""

    async def end(job: Job) -> None:
        event = JobSucceeded(
            job=job.id, token="t", at=time.time(), output=Output(text="a ring"), predict_time=0.1
        )
        await log.append(EVENTS, job.id, wire.encode(event), wire.HEADERS)

    began, tasks = time.perf_counter(), []
    for number, job in enumerate(made):
        if per_second is not None:
            await asyncio.sleep(max(began + number / per_second - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(end(job)))
    await asyncio.gather(*tasks)


async def seconds_until(count: Callable[[], Awaitable[int]], wanted: int, began: float) -> float:
    while await count() < wanted:  # noqa: ASYNC110  other processes decide
        await asyncio.sleep(_POLL_SECONDS)
    return time.perf_counter() - began


async def measure(settings: dict[str, str]) -> None:
    database = await Database.open(settings["DARKROOM_DATABASE_URL"])
    log = await open_job_log(settings["DARKROOM_JOB_LOG_URL"])

    async def ended() -> int:
        query = select(func.count()).where(jobs.c.completed_at.is_not(None))
        async with database.read() as connection:
            return int(await connection.scalar(query) or 0)

    async def delivered() -> int:
        query = select(func.count()).where(webhook_deliveries.c.state == "delivered")
        async with database.read() as connection:
            return int(await connection.scalar(query) or 0)

    async def turn(told: bool, per_second: float | None) -> tuple[float, float]:
        """Jobs that the recorder ended a second, and webhooks that were delivered."""
        hook = f"http://127.0.0.1:{RECEIVER_PORT}/hook" if told else None
        made = await accepted(database, hook)
        before, out = await ended(), await delivered()
        began = time.perf_counter()
        await end_all(log, made, per_second)
        recorded = COUNT / await seconds_until(ended, before + COUNT, began)
        wanted = out + COUNT if told else out
        return recorded, COUNT / await seconds_until(delivered, wanted, began)

    rates: dict[bool, list[float]] = {False: [], True: []}
    sent = []
    for number in range(TURNS):
        for told in (False, True):
            recorded, out = await turn(told, None)
            rates[told].append(recorded)
        sent.append(out)
        print(
            f"turn {number + 1}: recorder {rates[False][-1]:.0f} jobs/s without, "
            f"{rates[True][-1]:.0f} with webhooks; {sent[-1]:.0f} deliveries/s",
            flush=True,
        )
    ratio = statistics.median(rates[True]) / statistics.median(rates[False])
    print(f"deliveries {statistics.median(sent):.0f}/s   recorder with : without {ratio:.2f}")

    waits: dict[bool, list[float]] = {False: [], True: []}

    def take(delivery: Delivery) -> None:
        update = wire.decode_update(delivery.value, delivery.headers)
        now.append(time.time() - update.at)

    follower = Follower(log, UPDATES, start=Start.LATEST, take=take)
    follower.start()
    for _ in range(TURNS):
        for told in (False, True):
            now = waits[told]
            recorded, out = await turn(told, PER_SECOND)
            while len(now) % COUNT:  # noqa: ASYNC110  the recorder tells them
                await asyncio.sleep(_POLL_SECONDS)
            print(f"{PER_SECOND}/s: recorded {recorded:.0f}/s, told {out:.0f}/s", flush=True)
    await follower.close()
    for told, samples in waits.items():
        show(f"event to update, {'with' if told else 'without'} webhooks", samples)
    await log.close()
    await database.close()


def on(stack: Stack) -> None:
    stack.start(
        extra=(
            (
                "uvicorn",
                "benchmarks.webhooks:receiver",
                "--interface",
                "asgi3",
                "--port",
                str(RECEIVER_PORT),
                "--log-level",
                "error",
            ),
        )
    )
    try:
        data = stack.folder / "data"
        own = {
            "DARKROOM_DATABASE_URL": f"sqlite+aiosqlite:///{data}/ledger.sqlite",
            "DARKROOM_JOB_LOG_URL": f"sqlite:///{data}/log.sqlite",
        }
        uvloop.run(measure({**own, **stack.environment}))
    finally:
        stack.stop()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if sys.argv[1] == "embedded":
            on(embedded(folder))
            return
        with Servers() as servers:
            on(on_servers(folder, servers.settings()))


if __name__ == "__main__":
    main()
