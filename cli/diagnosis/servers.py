"""The three dependencies: whether they answer, what they are, and what time they have."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from email.utils import parsedate_to_datetime

import httpx2

from api.database.condition import LedgerCondition
from api.database.condition import condition_of as ledger_condition
from cli.diagnosis.finding import Finding, fail, note, ok
from common.catalogue import Catalogue
from common.errors import LedgerUnavailable, LogUnavailable, StoreUnavailable
from common.job_log.condition import condition_of as log_condition
from common.object_store.condition import endpoint_of, try_object_store
from common.settings import Settings
from common.topic import SHARED, is_shared_work, job_topics

MOST_SKEW_SECONDS = 2.0  # what the sweeper allows for
_DATE_SECONDS = 1.0  # the grain of an HTTP date
_TIMEOUT_SECONDS = 5.0

Clock = Callable[[], float]  # seconds since the epoch


async def job_log(settings: Settings, catalogue: Catalogue | None) -> AsyncIterator[Finding]:
    """Whether it answers, and whether its topics have the partitions that the setting says."""
    models = [model.name for model in catalogue or ()]
    topics = [*SHARED, *(topic for model in models for topic in job_topics(model))]
    try:
        found = await log_condition(settings.log_url, topics)
    except LogUnavailable as error:
        yield fail("job log", str(error), _start("DARKROOM_JOB_LOG_URL", settings.log_url))
        return
    yield ok("job log", f"{found.server}, {len(found.topics)} of {len(topics)} topics")
    if settings.log_url.startswith("sqlite"):
        return
    shared = {topic: count for topic, count in found.topics.items() if is_shared_work(topic)}
    few = {topic: count for topic, count in shared.items() if count < settings.partitions}
    if few:
        topic, count = min(few.items(), key=lambda item: (item[1], item[0]))
        yield fail(
            "partitions",
            f"{len(few)} topics have fewer than DARKROOM_PARTITIONS={settings.partitions}, "
            f"such as {topic} with {count}",
            f"kafka-topics.sh --alter --topic {topic} --partitions {settings.partitions} adds them",
        )
    elif len(found.topics) < len(topics):
        yield note("partitions", "the topics that are missing are made when they are first used")
    else:
        yield ok("partitions", f"{settings.partitions} or more in each of {len(shared)} topics")


async def object_store(settings: Settings, clock: Clock = time.time) -> AsyncIterator[Finding]:
    """Whether a small object can be put, read and deleted."""
    try:
        what = await try_object_store(settings.store_url)
    except StoreUnavailable as error:
        fix = _start("DARKROOM_OBJECT_STORE_URL", settings.store_url)
        yield fail("object store", str(error), fix)
        return
    yield ok("object store", f"{what} takes, gives and deletes")
    if (endpoint := endpoint_of(settings.store_url)) is None:
        return
    before = clock()
    async with httpx2.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
        try:
            date = (await client.head(endpoint)).headers.get("date", "")
            told = parsedate_to_datetime(date).timestamp()
        except (httpx2.HTTPError, ValueError) as error:
            yield note("clock, object store", f"it does not tell the time ({error})")
            return
    yield _skew("object store", told, before, clock(), grain=_DATE_SECONDS)


async def ledger(settings: Settings, clock: Clock = time.time) -> AsyncIterator[Finding]:
    """Whether it answers, its tables are those of this code, and its clock agrees."""
    before = clock()
    try:
        found = await ledger_condition(settings.ledger_url)
    except LedgerUnavailable as error:
        yield fail("ledger", str(error), _start("DARKROOM_DATABASE_URL", settings.ledger_url))
        return
    after = clock()
    yield ok("ledger", found.server)
    yield _tables(found)
    if found.now is not None:
        yield _skew("ledger", found.now, before, after)


def _tables(found: LedgerCondition) -> Finding:
    if found.revision is None:
        fix = "start the API once: it makes them (`darkroom up`, or `python -m api serve`)"
        return fail("tables", "there are none", fix)
    if found.revision == found.newest:
        return ok("tables", f"revision {found.revision}, the newest")
    if found.revision < found.newest:
        return fail(
            "tables",
            f"revision {found.revision or 'none'}, and this version needs {found.newest}",
            "restart the API: it migrates them (`darkroom up`, or `python -m api serve`)",
        )
    return fail(
        "tables",
        f"revision {found.revision}, and this version knows {found.newest} at most",
        "run the newer version of Darkroom that migrated them",
    )


def _skew(server: str, told: float, before: float, after: float, grain: float = 0.0) -> Finding:
    """How far a server's clock is from ours, which read `before` and `after` it was asked."""
    part = f"clock, {server}"
    ahead = told - after if told > after else min(told + grain - before, 0.0)
    if abs(ahead) <= MOST_SKEW_SECONDS:
        return ok(part, f"within {MOST_SKEW_SECONDS:.0f} s of this machine's")
    side = "ahead of" if ahead > 0 else "behind"
    return fail(
        part,
        f"{abs(ahead):.1f} s {side} this machine's",
        "run chrony or another NTP client on both machines",
    )


def _start(setting: str, url: str) -> str:
    if url.startswith(("sqlite", "file:")):
        return "`darkroom up` makes it; if it was there before, restore it from a backup"
    return (
        f"start it, or correct {setting} and its credentials; a restart of the API makes a bucket "
        "that is missing"
    )
