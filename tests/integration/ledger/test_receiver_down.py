"""A webhook receiver that is down for hours, by a clock that the test moves."""

from __future__ import annotations

from itertools import pairwise

import pytest

from api.database import delivery_pages
from api.database.accepting import Accepting
from api.database.database import Database
from api.webhooks.schedule import SCHEDULE
from common.job_log import JobLog
from infra.ports import free_ports
from tests.integration.ledger.test_notifier import ended, state_is
from tests.ledger import until
from tests.webhooks import Clock, Receiver, attempts, deliveries, notifying

pytestmark = pytest.mark.anyio

AHEAD = 600.0  # seconds, so that what ends by the real clock is due by this one
WAITING = 12  # webhooks for the receiver that is down


async def test_a_receiver_that_is_down_for_hours_gets_all_at_its_return_and_delays_no_other(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    clock = Clock()
    (port,) = free_ports(1)
    down = f"http://127.0.0.1:{port}/down"
    for _ in range(WAITING):
        await ended(database, accepting, down)
    clock.now += AHEAD
    async with Receiver() as good, notifying(database, log, clock=clock):
        for number, delay in enumerate(SCHEDULE[:5], start=1):  # 2.6 hours
            clock.now += delay
            await ended(database, accepting, good.url + "/good")
            await good.of("/good", number)  # at once, whatever waits for the other
            await tried(database, down, number)
        async with Receiver(port=port) as back:
            clock.now += SCHEDULE[5] - 1
            await ended(database, accepting, good.url + "/good")
            await good.of("/good", 6)
            assert back.received == []  # not before its time
            clock.now += 1
            await back.of("/down", WAITING)
            await state_is(database, "delivered", WAITING + 6)
    ids = {row["id"] for row in await deliveries(database) if row["url"] == down}
    assert {each.headers["webhook-id"] for each in back.received} == ids
    for id in ids:
        kept = await attempts(database, id)
        waits = [later["at"] - one["at"] for one, later in pairwise(kept)]
        assert waits == pytest.approx(list(SCHEDULE[1:6]))
        assert [each["code"] for each in kept] == [None] * 5 + [204]
        assert all(each["reply"] for each in kept[:5])  # why it was not delivered


async def test_a_receiver_that_is_down_for_days_exhausts_its_webhook_which_can_be_sent_again(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    clock = Clock()
    (port,) = free_ports(1)
    down = f"http://127.0.0.1:{port}/down"
    await ended(database, accepting, down)
    clock.now += AHEAD
    async with notifying(database, log, clock=clock):
        for number, delay in enumerate(SCHEDULE, start=1):
            clock.now += delay
            await tried(database, down, number)
        await state_is(database, "exhausted")
        clock.now += 30 * 86_400.0
        [delivery] = await deliveries(database)
        async with Receiver(port=port) as back:
            async with database.write() as connection:
                await delivery_pages.send_one_again(connection, delivery["id"], clock.now)
            await back.of("/down")
            await state_is(database, "delivered")
    assert [each.headers["webhook-id"] for each in back.received] == [delivery["id"]]
    kept = await attempts(database, delivery["id"])
    assert [each["code"] for each in kept] == [None] * len(SCHEDULE) + [204]


async def tried(database: Database, url: str, number: int) -> None:
    """Wait until all webhooks for the URL have had so many attempts written down."""

    async def so() -> bool:
        rows = [row for row in await deliveries(database) if row["url"] == url]
        return {row["attempts"] for row in rows} == {number}

    await until(so, 30)
