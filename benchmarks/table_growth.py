"""Whether what a request asks of the ledger grows with the table, on Postgres.

python -m benchmarks.table_growth              # 10,000 against 3,000,000 finished jobs
python -m benchmarks.table_growth 200000       # against so many

Two databases of one server, one small and one large, are asked in turn. Then the plan of every
statement is read on the large one.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvloop
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database import ending, jobs, sweeping
from api.database.accepting import Accepting
from api.database.database import Database
from api.database.paging import Cursor
from api.database.recording import start_first
from api.submit import new_id
from common.events import JobStarted
from common.job import Job, JobSpec, JobState, Output
from infra.servers import Servers
from tests.ledger import fresh_postgres

SMALL, LARGE = 10_000, 3_000_000
CALLS = 300
OWNERS, MODELS = 20, 10
MODEL, OWNER = "owner/model-3", "owner-3"
CHUNK = 25_000  # rows of a statement, which the ledger gives 15 seconds

Ask = Callable[[Database, str], Awaitable[object]]

_FILL = text(
    """
    INSERT INTO jobs (id, owner, model, priority, parameters, inputs, version, link_token,
        created_at, state, sequence, attempt, token, started_at, completed_at, predict_time,
        output, logs, labels, metadata, log_topic, log_partition, log_offset, appended_at)
    SELECT '0190' || lpad(to_hex(n), 8, '0') || '-0000-7000-8000-000000000000',
        'owner-' || n % :owners, 'owner/model-' || (n / :owners) % :models, 'normal',
        '{"prompt":"a picture of things"}',
        '{"image":"inputs/o/2026-01-01/' || md5(n::text) || '"}',
        'main', md5(n::text), 1.7e9 + n,
        CASE WHEN n % 3 = 0 AND (n / :owners) % :models <> 3 THEN 'failed' ELSE 'succeeded' END,
        2, 1, md5(n::text), 1.7e9 + n, 1.7e9 + n + 1, 0.1, '{"text":"a caption","files":[]}',
        '', '[]', '{}', 'jobs.m.normal', n % 4, n, 1.7e9 + n
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n
    """
)


async def fill(database: Database, first: int, last: int) -> None:
    """Finished jobs numbered from `first` to below `last`, in transactions of a bearable size."""
    sizes = {"owners": OWNERS, "models": MODELS}
    for begin in range(first, last, CHUNK):
        end = min(begin + CHUNK, last) - 1
        async with database.write() as connection:
            await connection.execute(_FILL, {"first": begin, "last": end, **sizes})
    async with database.write() as connection:
        await connection.execute(text("ANALYZE"))


def a_job() -> Job:
    spec = JobSpec(model=MODEL, parameters={"prompt": "x"}, inputs={"image": "inputs/x"})
    return Job(
        id=new_id(), owner=OWNER, spec=spec, version="main", link_token="0", created_at=time.time()
    )


class Asking:
    """What requests and the recorder ask; each call works on a job of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.accepting = Accepting(database)
        self.cursor: Cursor | None = None

    async def prepare(self) -> None:
        """A cursor that lies in the middle of the owner's jobs."""
        async with self.database.read() as connection:
            query = text("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY created_at) FROM jobs")
            self.cursor = Cursor(await connection.scalar(query) or 0.0, "0")

    async def whole_job(self) -> dict[str, float]:
        """Seconds of each statement that one job needs from its acceptance to its end."""
        job = a_job()
        took: dict[str, float] = {}
        with timed(took, "accept"):
            await self.accepting.accept(job)
        with timed(took, "start"):
            async with self.database.statement() as connection:
                event = JobStarted(job=job.id, token="t", at=time.time(), worker="w")
                await start_first(connection, event)
        end = ending.End(
            state=JobState.SUCCEEDED, at=time.time(), token="t", output=Output(text="a caption")
        )
        with timed(took, "end"):
            async with self.database.statement() as connection:
                await ending.end(connection, job.id, end)
        with timed(took, "get"):
            async with self.database.read() as connection:
                await jobs.get(connection, job.id)
        return took

    async def pages(self) -> dict[str, float]:
        """Seconds of a page of each kind."""
        took: dict[str, float] = {}
        filters = {
            "newest page": jobs.JobFilter(),
            "page of a status": jobs.JobFilter(status=JobState.FAILED),
            "page of a model": jobs.JobFilter(model=MODEL),
            "a model's failures: none": jobs.JobFilter(status=JobState.FAILED, model=MODEL),
            "page since a time": jobs.JobFilter(created_after=1.7e9 + 5_000),
        }
        for name, wanted in filters.items():
            with timed(took, name):
                await self._page(wanted, None)
        with timed(took, "page in the middle"):
            await self._page(jobs.JobFilter(), self.cursor)
        with timed(took, "unended jobs"):
            async with self.database.read() as connection:
                await sweeping.models(connection)
        return took

    async def _page(self, wanted: jobs.JobFilter, cursor: Cursor | None) -> None:
        async with self.database.read() as connection:
            await jobs.page(connection, owner=OWNER, filter=wanted, cursor=cursor, limit=100)

    async def everything(self) -> dict[str, float]:
        return await self.whole_job() | await self.pages()


@contextmanager
def timed(took: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    took[name] = time.perf_counter() - began


async def plans(asking: Asking) -> dict[str, str]:
    """Each statement that `everything` sends, and how the server finds its rows."""
    seen: dict[str, Any] = {}

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.setdefault(statement, parameters)

    async with asking.database.read() as connection:
        engine = connection.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    await asking.everything()
    event.remove(engine, "before_cursor_execute", note)
    found = {}
    for statement, parameters in seen.items():
        if "jobs" in statement:
            async with asking.database.write() as connection:
                found[statement] = await _plan(connection, statement, parameters)
                await connection.rollback()
    return found


async def _plan(connection: AsyncConnection, statement: str, parameters: Any) -> str:
    rows = await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
    return "\n".join(row[0] for row in rows)


async def compare(url: str, large: int) -> None:
    small_one = await Database.open(await fresh_postgres(url))
    large_one = await Database.open(await fresh_postgres(url))
    print(f"filling {large} rows ...", flush=True)
    await fill(small_one, 0, SMALL)
    await fill(large_one, 0, large)
    both = [Asking(small_one), Asking(large_one)]
    samples: list[dict[str, list[float]]] = [{}, {}]
    for asking in both:
        await asking.prepare()
    for number in range(CALLS + 20):
        for side, asking in enumerate(both):
            for name, seconds in (await asking.everything()).items():
                if number >= 20:
                    samples[side].setdefault(name, []).append(seconds)
    for name, of_small in samples[0].items():
        few, many = statistics.median(of_small), statistics.median(samples[1][name])
        print(f"{name:<26} {1e3 * few:6.2f} ms  {1e3 * many:6.2f} ms   ratio {many / few:.2f}")
    for statement, plan in (await plans(both[1])).items():
        print(f"\n{' '.join(statement.split())[:160]}\n{plan}")
        if "Seq Scan on jobs" in plan:
            print("^^^ walks the whole table")
    for asking in both:
        await asking.accepting.close()
        await asking.database.close()


def main() -> None:
    large = int(sys.argv[1]) if len(sys.argv) > 1 else LARGE
    url = os.environ.get("DARKROOM_DATABASE_URL")
    if url:
        uvloop.run(compare(url, large))
        return
    with Servers() as servers:
        uvloop.run(compare(servers.settings()["DARKROOM_DATABASE_URL"], large))


if __name__ == "__main__":
    main()
