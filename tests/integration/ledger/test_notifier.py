"""Webhooks over real HTTP to receivers of every kind, from a real ledger."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update
from standardwebhooks import Webhook, WebhookVerificationError

from api.database import ending, webhook_secrets
from api.database.accepting import Accepting
from api.database.database import Database
from api.database.ending import End
from api.database.tables import webhook_endpoints
from api.notifier import MOST_CLAIMED, MOST_OF_A_HOST, MOST_SENDING, MOST_TAKEN
from api.webhooks.body import signed_headers
from api.webhooks.schedule import SCHEDULE
from common import wire
from common.events import JobUpdate
from common.job import Job, JobState, Output
from common.job_log import JobLog
from common.topic import UPDATES
from tests.ledger import new_job, until
from tests.webhooks import Answer, Clock, Receiver, attempts, deliveries, new_endpoint, notifying

pytestmark = pytest.mark.anyio

PAUSE = update(webhook_endpoints).values(state="paused")
SUCCESS = End(state=JobState.SUCCEEDED, at=9.0, output=Output(text="a ring"), logs="ran")


async def ended(database: Database, accepting: Accepting, url: str, **fields: Any) -> Job:
    """A job with a webhook, which has just ended."""
    job = new_job(webhook=url, **fields)
    await accepting.accept(job)
    async with database.statement() as connection:
        assert await ending.end(connection, job.id, SUCCESS) is not None
    return job


async def state_is(database: Database, state: str, count: int = 1) -> None:
    """Wait until so many deliveries are in this state."""

    async def so() -> bool:
        return [row["state"] for row in await deliveries(database)].count(state) == count

    await until(so, 30)


async def default_secret(database: Database, owner: str = "local") -> str:
    async with database.write() as connection:
        return await webhook_secrets.default(connection, owner, time.time())


async def test_a_webhook_is_the_prediction_and_the_stock_library_verifies_it(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    async with Receiver(lambda _: Answer(200, body=b"thanks")) as receiver:
        job = await ended(database, accepting, receiver.url + "/hook")
        async with notifying(database, log):
            [received] = await receiver.of("/hook")
            await state_is(database, "delivered")
    body = received.verified(await default_secret(database))
    assert (body["id"], body["status"], body["output"]) == (job.id, "succeeded", "a ring")
    assert body["urls"]["get"] == f"http://darkroom.test/v1/predictions/{job.id}"
    assert "truncated" not in body
    [delivery] = await deliveries(database)
    assert (delivery["attempts"], delivery["next_at"]) == (1, None)
    assert received.headers["webhook-id"] == delivery["id"]
    [attempt] = await attempts(database, delivery["id"])
    assert (attempt["code"], attempt["reply"]) == (200, "thanks")
    assert 0 < attempt["seconds"] < 15


async def test_an_update_wakes_the_notifier_at_once(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    async with Receiver() as receiver, notifying(database, log, poll_seconds=600):
        # It follows from the end of the topic: say it until it listens.
        job = await ended(database, accepting, receiver.url + "/hook")
        update = JobUpdate(job=job.id, owner=job.owner, state=JobState.SUCCEEDED, sequence=1)

        async def told() -> bool:
            await log.append(UPDATES, job.id, wire.encode(update), wire.HEADERS)
            return bool(receiver.received)

        await until(told, 30)


async def test_every_retry_of_the_schedule_is_made_and_then_it_is_exhausted(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    clock = Clock()
    began = clock.now
    async with Receiver(lambda _: Answer(500, body=b"no")) as receiver:
        await ended(database, accepting, receiver.url + "/hook")
        clock.now = began = time.time()
        async with notifying(database, log, clock=clock):
            for number, delay in enumerate(SCHEDULE, start=1):
                clock.now += delay
                await receiver.of("/hook", number)

                async def written(number: int = number) -> bool:
                    return [row["attempts"] for row in await deliveries(database)] == [number]

                await until(written, 20)
            await state_is(database, "exhausted")
    [delivery] = await deliveries(database)
    kept = await attempts(database, delivery["id"])
    waits = [kept[n]["at"] - kept[n - 1]["at"] for n in range(1, 10)]
    assert waits == pytest.approx(list(SCHEDULE[1:]))
    assert kept[0]["at"] == pytest.approx(began)
    assert [(each["code"], each["reply"]) for each in kept] == [(500, "no")] * 10
    assert delivery["next_at"] is None
    sent = receiver.received
    assert len(sent) == 10
    assert {each.headers["webhook-id"] for each in sent} == {delivery["id"]}
    assert [float(each.headers["webhook-timestamp"]) for each in sent] == [
        int(each["at"]) for each in kept
    ]
    assert len({each.headers["webhook-signature"] for each in sent}) == 10


async def test_a_redirect_is_a_failure_and_is_not_followed(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    moved = Answer(307, headers={"location": "/elsewhere"})
    async with Receiver(lambda path: moved if path == "/hook" else Answer()) as receiver:
        await ended(database, accepting, receiver.url + "/hook")
        async with notifying(database, log):
            await receiver.of("/hook")
            [delivery] = await deliveries(database)
            await until(lambda: _attempted(database), 20)
            [attempt] = await attempts(database, delivery["id"])
    assert attempt["code"] == 307
    assert [each.path for each in receiver.received] == ["/hook"]
    assert (await deliveries(database))[0]["state"] == "pending"


async def _attempted(database: Database) -> bool:
    return all(row["attempts"] for row in await deliveries(database))


async def test_retry_after_is_honoured(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    busy = Answer(429, headers={"retry-after": "3600"})
    async with Receiver(lambda _: busy) as receiver:
        await ended(database, accepting, receiver.url + "/hook")
        async with notifying(database, log):
            await until(lambda: _attempted(database), 20)
    [delivery] = await deliveries(database)
    assert delivery["next_at"] == pytest.approx(time.time() + 3600, abs=30)


async def test_410_turns_the_endpoint_off_and_exhausts_what_waits_for_it(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    def answer(path: str) -> Answer:
        return Answer(410 if path == "/gone" else 204)

    async with Receiver(answer) as receiver:
        await new_endpoint(database, "gone", url=receiver.url + "/gone")
        await new_endpoint(database, "here", url=receiver.url + "/here")
        await ended(database, accepting, receiver.url + "/own")
        async with notifying(database, log):
            await state_is(database, "delivered", 2)
            await state_is(database, "exhausted", 1)
        await ended(database, accepting, receiver.url + "/own")
    rows = [row for row in await deliveries(database) if row["endpoint"] == "gone"]
    assert [(row["state"], row["attempts"]) for row in rows] == [("exhausted", 1)]


async def test_a_receiver_that_hangs_delays_no_other(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    async with Receiver(lambda _: Answer(after=60)) as hanging, Receiver() as good:
        for _ in range(150):  # more than may be under way at all
            await ended(database, accepting, hanging.url + "/hang")
        await ended(database, accepting, good.url + "/good")
        began = time.monotonic()
        async with notifying(database, log):
            await good.of("/good")
            seconds = time.monotonic() - began
    assert seconds < 10
    assert len(hanging.received) == MOST_OF_A_HOST


@pytest.mark.parametrize("taken", [MOST_TAKEN, 3 * MOST_CLAIMED])  # the turns, and the claims
async def test_an_owner_whose_many_receivers_hang_delays_no_other_owner(
    database: Database,
    log: JobLog,
    accepting: Accepting,
    monkeypatch: pytest.MonkeyPatch,
    taken: int,
) -> None:
    monkeypatch.setattr("api.notifier.MOST_TAKEN", taken)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    hosts = [f"127.0.1.{number}" for number in range(1, MOST_SENDING // MOST_OF_A_HOST + 2)]
    hanging = [await asyncio.start_server(hang, host, 0) for host in hosts]
    async with Receiver() as good:
        for server in hanging:
            name, port = server.sockets[0].getsockname()
            for _ in range(MOST_OF_A_HOST):
                await ended(database, accepting, f"http://{name}:{port}/", owner="mallory")
        await ended(database, accepting, good.url + "/good")
        began = time.monotonic()
        async with notifying(database, log):
            await good.of("/good")
            seconds = time.monotonic() - began
    for server in hanging:
        server.close()
    assert seconds < 10


async def test_no_answer_within_15_seconds_is_a_failure(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    async with Receiver(lambda _: Answer(after=60)) as receiver:
        await ended(database, accepting, receiver.url + "/hang")
        async with notifying(database, log):
            await until(lambda: _attempted(database), 40)
    [delivery] = await deliveries(database)
    [attempt] = await attempts(database, delivery["id"])
    assert (attempt["code"], delivery["state"]) == (None, "pending")
    assert 14.5 < attempt["seconds"] < 20
    assert "in time" in attempt["reply"]


async def test_a_rotation_leaves_no_gap(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    old = await default_secret(database)
    async with database.write() as connection:
        now = time.time()
        new = await webhook_secrets.rotate(connection, "local", None, at=now, overlap=3600)
    async with Receiver() as receiver:
        await ended(database, accepting, receiver.url + "/hook")
        async with notifying(database, log):
            [received] = await receiver.of("/hook")
    assert old != new
    assert received.verified(old) == received.verified(new)
    async with database.write() as connection:
        assert await webhook_secrets.default(connection, "local", now) == new
        later = await webhook_secrets.signers(
            connection, endpoints=(), owners=["local"], at=now + 3601
        )
    assert later.of_owners == {"local": (new,)}


async def test_each_endpoint_signs_by_its_own_secret(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    async with Receiver() as receiver:
        secret = await new_endpoint(database, "one", url=receiver.url + "/one")
        await ended(database, accepting, receiver.url + "/own")
        async with notifying(database, log):
            [own] = await receiver.of("/own")
            [one] = await receiver.of("/one")
    assert own.verified(await default_secret(database)) == one.verified(secret)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        one.verified(await default_secret(database))


async def test_two_notifiers_send_each_webhook_once(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    async with Receiver() as receiver:
        made = [await ended(database, accepting, receiver.url + "/hook") for _ in range(60)]
        async with notifying(database, log), notifying(database, log):
            await state_is(database, "delivered", 60)
    told = [json.loads(each.body)["id"] for each in receiver.received]
    assert sorted(told) == sorted(job.id for job in made)


async def test_nothing_is_sent_for_a_paused_endpoint(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    async with Receiver() as receiver:
        await new_endpoint(database, "one", url=receiver.url + "/one")
        await ended(database, accepting, receiver.url + "/own")
        async with database.write() as connection:
            await connection.execute(PAUSE)
        async with notifying(database, log):
            await state_is(database, "delivered", 1)
            await until(lambda: _put_off(database), 20)
    assert [each.path for each in receiver.received] == ["/own"]


async def _put_off(database: Database) -> bool:
    [waiting] = [row for row in await deliveries(database) if row["state"] == "pending"]
    return bool(waiting["next_at"] > time.time() + 120)


_KILLED = """
import asyncio, os, signal, sys
from api.database import ending
from api.database.database import Database
from api.database.ending import End
from common.job import JobState

async def main():
    database = await Database.open(sys.argv[1])
    end = End(state=JobState.FAILED, at=9.0, error="It broke.", error_code="broken")
    async with database.write() as connection:
        assert await ending.end(connection, sys.argv[2], end)
        if sys.argv[3] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_process_that_is_killed_around_the_commit_loses_no_webhook(
    database: Database, log: JobLog, accepting: Accepting, ledger_url: str, moment: str
) -> None:
    async with Receiver() as receiver:
        job = new_job(webhook=receiver.url + "/hook")
        await accepting.accept(job)
        killed = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _KILLED, ledger_url, job.id, moment, env=dict(os.environ)
        )
        assert await killed.wait() == -signal.SIGKILL
        if moment == "before":  # neither the end nor its webhook: the event comes again
            assert await deliveries(database) == []
            async with database.write() as connection:
                assert await ending.end(connection, job.id, SUCCESS) is not None
        async with notifying(database, log):
            [received] = await receiver.of("/hook")
    assert json.loads(received.body)["id"] == job.id


async def test_what_a_stopped_notifier_had_under_way_is_due_again_at_once(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    async with Receiver(lambda _: Answer(after=60)) as receiver:
        await ended(database, accepting, receiver.url + "/hang")
        async with notifying(database, log):
            await receiver.of("/hang")
    [delivery] = await deliveries(database)
    assert delivery["state"] == "pending"
    assert delivery["next_at"] <= time.time()


def test_the_stock_library_signs_as_we_do() -> None:
    secret = webhook_secrets.new_secret()
    headers = signed_headers("id", "completed", b"{}", secrets=[secret], at=1_795_255_200.7)
    moment = datetime.fromtimestamp(1_795_255_200, UTC)
    assert headers["webhook-signature"] == Webhook(secret).sign("id", moment, "{}")
