"""The baseline: the acknowledged steps of one job in one script, without any code of ours.

Put the image, commit a row, append the job, receive it, append "started" while the image is
fetched, append "done", commit the result.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import boto3
import obstore
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from obstore.store import S3Store


class BareChain:
    """Open it with `async with`; `once` makes one pass and returns its seconds."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._settings = settings
        self._topics = ["bare-" + secrets.token_hex(4) for _ in range(2)]

    async def __aenter__(self) -> BareChain:
        address = urlsplit(self._settings["DARKROOM_JOB_LOG_URL"]).netloc
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        await admin.create_topics([NewTopic(name, 1, 1) for name in self._topics])
        await admin.close()
        self._producer = AIOKafkaProducer(
            bootstrap_servers=address, acks="all", enable_idempotence=True
        )
        self._consumer = AIOKafkaConsumer(
            self._topics[0],
            bootstrap_servers=address,
            group_id="bare-" + secrets.token_hex(4),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        await self._producer.start()
        await self._consumer.start()
        await self._open_store()
        database = self._settings["DARKROOM_DATABASE_URL"].replace("+asyncpg", "")
        self._database: Any = await asyncpg.connect(database)
        await self._database.execute(
            "CREATE TABLE IF NOT EXISTS bare (id text PRIMARY KEY, body text, result text)"
        )
        return self

    async def _open_store(self) -> None:
        store = urlsplit(self._settings["DARKROOM_OBJECT_STORE_URL"])
        endpoint = parse_qs(store.query)["endpoint"][0]
        keys = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        bucket = "bare-" + secrets.token_hex(4)
        client: Any = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        await asyncio.to_thread(client.create_bucket, Bucket=bucket)
        self._store = S3Store(
            bucket,
            endpoint=endpoint,
            region="us-east-1",
            access_key_id=keys["AWS_ACCESS_KEY_ID"],
            secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            client_options={"allow_http": True},
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._consumer.stop()
        await self._producer.stop()
        await self._database.close()

    async def once(self, image: bytes) -> float:
        began = time.perf_counter()
        id = secrets.token_hex(16)
        jobs, events = self._topics
        await obstore.put_async(self._store, id, image)
        await self._database.execute("INSERT INTO bare (id, body) VALUES ($1, $2)", id, id * 8)
        await self._producer.send_and_wait(jobs, id.encode() * 8, key=id.encode())
        await self._consumer.getone()
        await asyncio.gather(
            self._producer.send_and_wait(events, b"started" + id.encode(), key=id.encode()),
            self._fetch(id),
        )
        await self._producer.send_and_wait(events, b"done" + id.encode(), key=id.encode())
        await self._database.execute("UPDATE bare SET result = 'done' WHERE id = $1", id)
        return time.perf_counter() - began

    async def _fetch(self, id: str) -> None:
        reply = await obstore.get_async(self._store, id)
        await reply.bytes_async()
