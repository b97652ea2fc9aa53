"""The application in this process, and a consumer for it that a test plays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from api.app import create_app
from api.database.database import Database
from api.dependencies import Parts
from common import wire
from common.catalogue import read_catalogue
from common.events import JobEvent, JobFailed, JobStarted, JobSucceeded
from common.job import JobSpec, Output, OutputFile
from common.job_log import JobLog, open_job_log
from common.object_store import ObjectStore, open_object_store
from common.settings import Settings
from common.topic import EVENTS, consumer_group, job_topics

DEADLINE = 60.0  # seconds


@dataclass(frozen=True)
class Api:
    """A client of the application, and what stands behind it."""

    client: httpx2.AsyncClient
    log: JobLog
    store: ObjectStore
    database: Database
    parts: Parts
    folder: Path

    async def submit(self, jpeg: bytes, model: str = "darkroom/captioner", **fields: str) -> Any:
        """The prediction that a multipart form makes."""
        reply = await self.client.post(
            "/v1/predictions", data={"model": model, **fields}, files={"image": ("a.jpg", jpeg)}
        )
        assert reply.status_code == 202, reply.text
        return reply.json()

    async def get(self, prediction: Any) -> Any:
        """The prediction as it is now."""
        return (await self.client.get(f"/v1/predictions/{prediction['id']}")).json()

    async def shows(self, prediction: Any, *states: str) -> Any:
        """The prediction once it is in one of `states`."""
        async with asyncio.timeout(DEADLINE):
            while True:
                now = await self.get(prediction)
                if now["status"] in states:
                    return now
                await asyncio.sleep(0.02)

    async def ended(self, prediction: Any) -> Any:
        """The prediction once it has ended."""
        return await self.shows(prediction, "succeeded", "failed", "canceled")

    async def say(self, event: JobEvent) -> None:
        """What a consumer would."""
        await self.log.append(EVENTS, event.job, wire.encode(event), wire.HEADERS)

    async def take(self, model: str) -> list[tuple[str, JobSpec]]:
        """The jobs that wait for the model, as its consumer receives them."""
        subscription = await self.log.subscribe(job_topics(model), group=consumer_group(model))
        try:
            deliveries = await subscription.receive(10, DEADLINE)
            await subscription.acknowledge(*deliveries)
        finally:
            await subscription.close()
        return [(d.key, wire.decode_spec(d.value, d.headers)) for d in deliveries]

    async def succeed(self, job: str, *, text: str | None = None, files: list[bytes] = []) -> None:  # noqa: B006
        """End the job as an attempt that went well does."""
        await self.say(JobStarted(job=job, token="t1", at=time.time(), worker="w1"))
        made = []
        for number, content in enumerate(files):
            key = f"outputs/{job}/t1/{number}.png"
            await self.store.put(key, content, "image/png")
            made.append(OutputFile(key=key, content_type="image/png", size=len(content)))
        output = Output(text=text, files=tuple(made))
        at = time.time()
        await self.say(
            JobSucceeded(job=job, token="t1", at=at, output=output, predict_time=0.5, logs="ran")
        )

    async def fail(self, job: str, code: str, error: str) -> None:
        """End the job as an attempt that went wrong does."""
        await self.say(JobFailed(job=job, token="t1", at=time.time(), code=code, error=error))

    async def nothing_kept(self) -> bool:
        """No bytes, no rows, no messages."""
        bounds = await self.log.bounds(
            {topic: None for model in self.parts.catalogue for topic in job_topics(model.name)}
        )
        return (
            [found async for found in self.store.list("")] == []
            and (await self.client.get("/v1/predictions")).json()["results"] == []
            and (await self.client.get("/v1/files")).json()["results"] == []
            and all(partition.end == 0 for partition in bounds.values())
        )


@asynccontextmanager
async def running_api(settings: Settings) -> AsyncIterator[Api]:
    """The application with everything it needs, as its `__main__` would start it."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    log = await open_job_log(settings.log_url)
    store = await open_object_store(settings.store_url)
    database = await Database.open(settings.ledger_url)
    app = create_app(
        settings=settings,
        catalogue=read_catalogue(settings.catalogue_file),
        log=log,
        store=store,
        database=database,
    )
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://darkroom.test", timeout=DEADLINE
        ) as client:
            yield Api(client, log, store, database, app.state.parts, settings.data_dir)
    await database.close()
    await log.close()
