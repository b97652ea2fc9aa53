"""What one finished job leaves behind: bytes in the ledger of either kind, and on the log.

python -m benchmarks.job_size          # 20,000 jobs
python -m benchmarks.job_size 5000
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from sqlalchemy import text

from api.database.accepting import Accepting
from api.database.database import Database
from api.database.recording import apply
from api.submit import new_id
from common import wire
from common.events import JobStarted, JobSucceeded, JobUpdate
from common.job import Job, JobSpec, JobState, Output
from common.job_log import Position
from common.object_key import input_key
from common.topic import job_topic
from infra.servers import Servers
from tests.ledger import fresh_postgres

JOBS = 20_000
AT_ONCE = 500
CAPTION = "a small brown dog runs over a meadow with a red ball in its mouth"


def a_job() -> tuple[Job, JobStarted, JobSucceeded]:
    """One with an image, a prompt and a caption, and what its consumer says of it."""
    now, id = time.time(), new_id()
    key = input_key("local", id, hashlib.sha256(id.encode()).hexdigest(), now)
    job = Job(
        id=id,
        owner="local",
        spec=JobSpec(
            model="owner/captioner",
            parameters={"prompt": "describe the picture", "max_new_tokens": 50},
            inputs={"image": key},
        ),
        version="main",
        link_token=secrets.token_hex(16),
        created_at=now,
        reuse_key=secrets.token_hex(32),
    )
    token, worker = secrets.token_hex(16), f"host-{secrets.token_hex(4)}"
    started = JobStarted(job=id, token=token, at=now, worker=worker)
    ended = JobSucceeded(
        job=id, token=token, at=now, output=Output(text=CAPTION), predict_time=0.512
    )
    return job, started, ended


async def fill(database: Database, count: int) -> None:
    accepting = Accepting(database)
    for first in range(0, count, AT_ONCE):
        made = [a_job() for _ in range(AT_ONCE)]
        await asyncio.gather(*(accepting.accept(job) for job, _, _ in made))
        for number, (job, _, _) in enumerate(made):
            topic = job_topic(job.spec.model, job.spec.priority)
            accepting.keep_position(job.id, Position(topic, number % 4, first + number))
        for events in ([started for _, started, _ in made], [ended for *_, ended in made]):
            async with database.write() as connection:
                await apply(connection, events)
    await accepting.close()


async def on_postgres(url: str, count: int) -> None:
    """As it grew, with room that rows left when they changed; and packed, as nothing keeps it."""
    database = await Database.open(await fresh_postgres(url))
    await fill(database, count)
    sizes = text("SELECT pg_total_relation_size('jobs') + pg_total_relation_size('attempts')")
    async with database.read() as connection:
        grown = await connection.scalar(sizes)
        for table in ("jobs", "attempts"):
            await connection.execute(text(f"VACUUM FULL {table}"))
        packed = await connection.scalar(sizes)
    print(f"Postgres {packed / count:6.0f} bytes a job packed, {grown / count:.0f} as it grew")
    await database.close()


async def on_sqlite(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.sqlite"
        database = await Database.open(f"sqlite+aiosqlite:///{file}")
        await fill(database, count)
        await database.close()  # which moves the write-ahead log into the file
        print(f"SQLite   {file.stat().st_size / count:6.0f} bytes a job")


def on_the_log() -> None:
    job, started, ended = a_job()
    update = JobUpdate(
        job=job.id,
        owner=job.owner,
        state=JobState.SUCCEEDED,
        sequence=2,
        model=job.spec.model,
        at=time.time(),
        started_at=time.time(),
    )
    for name, message in (
        ("the job", job.spec),
        ("its start", started),
        ("its end", ended),
        ("an update", update),
    ):
        print(f"log: {name:<9} {len(wire.encode(message)) + len(job.id):6} bytes, key and body")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else JOBS
    on_the_log()
    uvloop.run(on_sqlite(count))
    url = os.environ.get("DARKROOM_DATABASE_URL")
    if url:
        uvloop.run(on_postgres(url, count))
        return
    with Servers() as servers:
        uvloop.run(on_postgres(servers.settings()["DARKROOM_DATABASE_URL"], count))


if __name__ == "__main__":
    main()
