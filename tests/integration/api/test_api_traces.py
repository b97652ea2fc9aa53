"""A request's `traceparent`, on its way into the log and the ledger."""

from __future__ import annotations

import pytest

from common.topic import consumer_group, job_topics
from tests.integration.api.running import DEADLINE, Api
from tests.ledger import the_job

pytestmark = pytest.mark.anyio

ECHO = "darkroom/echo"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{SPAN}-01"


async def submit(api: Api, *traceparents: str) -> str:
    reply = await api.client.post(
        "/v1/predictions",
        json={"model": ECHO, "input": {"prompt": "hello"}},
        headers=[(b"traceparent", each.encode("latin-1")) for each in traceparents],
    )
    assert reply.status_code == 202, reply.text
    id: str = reply.json()["id"]
    return id


async def carried(api: Api) -> str | None:
    """What the job's message has."""
    subscription = await api.log.subscribe(job_topics(ECHO), group=consumer_group(ECHO))
    try:
        [delivery] = await subscription.receive(10, DEADLINE)
        await subscription.acknowledge(delivery)
    finally:
        await subscription.close()
    return delivery.headers.get("traceparent")


async def test_it_goes_with_the_job_into_the_log_and_the_ledger(api: Api) -> None:
    job = await submit(api, GIVEN)
    assert await carried(api) == GIVEN
    assert (await the_job(api.database, job)).traceparent == GIVEN


@pytest.mark.parametrize(
    "given", [(), ("nonsense",), (f"00-{'0' * 32}-{SPAN}-01",), (GIVEN, GIVEN), ("\xff",)]
)
async def test_what_makes_no_sense_is_passed_over(api: Api, given: tuple[str, ...]) -> None:
    job = await submit(api, *given)
    assert await carried(api) is None
    assert (await the_job(api.database, job)).traceparent is None


async def test_one_request_gives_none_to_the_next(api: Api) -> None:
    await submit(api, GIVEN)
    assert await carried(api) == GIVEN
    await submit(api)
    assert await carried(api) is None


async def test_a_retry_is_in_the_trace_of_who_asks_for_it(api: Api) -> None:
    old = await submit(api, GIVEN)
    await api.take(ECHO)
    await api.fail(old, "bad_input", "No.")
    await api.ended({"id": old})
    other = f"00-{TRACE[::-1]}-{SPAN}-01"
    reply = await api.client.post(f"/v1/predictions/{old}/retry", headers={"traceparent": other})
    assert (await the_job(api.database, reply.json()["id"])).traceparent == other
