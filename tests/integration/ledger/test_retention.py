"""What is kept, and for how long: a real ledger and a real object store, on both stacks."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import select, text

from api.database import files
from api.database.accepting import Accepting
from api.database.database import Database
from api.database.ending import End, end
from api.database.files import FileRow
from api.database.reusing import take_over
from api.database.tables import KEPT, jobs
from api.upkeep import retention
from api.upkeep.removal import Remover
from api.upkeep.retention import Retention
from common.errors import StoreUnavailable
from common.job import Job, JobSpec, JobState, Output, OutputFile
from common.object_key import input_key
from common.object_store import ObjectStore, open_object_store
from tests.ledger import new_job, the_job

pytestmark = pytest.mark.anyio

LATER = 9e9  # an hour of the clock that no test reaches


@pytest.fixture
async def store(request: pytest.FixtureRequest, ledger_url: str, tmp_path: Path) -> ObjectStore:
    if ledger_url.startswith("sqlite"):
        return await open_object_store(f"file://{tmp_path}/objects")
    servers: dict[str, str] = request.getfixturevalue("servers")
    bucket = "t" + secrets.token_hex(6)
    url = servers["DARKROOM_OBJECT_STORE_URL"].replace("s3://darkroom", f"s3://{bucket}")
    return await open_object_store(url)


class OneBadKey(ObjectStore):
    """A real store that cannot delete one of its objects."""

    def __init__(self, store: ObjectStore, bad: str) -> None:
        self._store, self._bad = store, bad

    async def delete(self, key: str) -> None:
        if key == self._bad:
            raise StoreUnavailable("not this one")
        await self._store.delete(key)

    async def put(self, key: str, content: bytes, content_type: str) -> None:
        await self._store.put(key, content, content_type)

    async def get(self, key: str) -> bytes:
        return await self._store.get(key)

    async def link(self, key: str, *, expires_in: int) -> str | None:
        return await self._store.link(key, expires_in=expires_in)

    def list(self, prefix: str) -> Any:
        return self._store.list(prefix)


class Shelf:
    """Jobs with their objects."""

    def __init__(self, database: Database, accepting: Accepting, store: ObjectStore) -> None:
        self.database, self.accepting, self.store = database, accepting, store

    async def job(self, image: str, **fields: Any) -> Job:
        """One that waits; `image` is its input's hash."""
        job = new_job(**fields)
        key = input_key("local", job.id, image, time.time())
        await self.store.put(key, b"image", "image/png")
        spec = JobSpec(model="darkroom/echo", inputs={"image": key}, parameters={"prompt": "me"})
        job = replace(job, spec=spec)
        await self.accepting.accept(job)
        return job

    async def ended(self, image: str, *, at: float, output: Output | None = None, **f: Any) -> Job:
        """One that succeeded, with a file of its own unless `output` is given."""
        job = await self.job(image, **f)
        if output is None:
            key = f"outputs/{job.id}/t/0.png"
            await self.store.put(key, b"made", "image/png")
            file = OutputFile(key=key, content_type="image/png", size=4)
            output = Output(text="a caption", files=(file,))
        async with self.database.write() as connection:
            how = End(state=JobState.SUCCEEDED, at=at, output=output, logs="me")
            await end(connection, job.id, how)
        return job

    async def file(self, image: str) -> FileRow:
        """One that was uploaded long ago."""
        file = file_of(image)
        await self.store.put(file.key, b"image", "image/png")
        async with self.database.write() as connection:
            await files.add(connection, file)
        return file

    async def keys(self) -> set[str]:
        return {found.key async for found in self.store.list("")}

    def retention(self, seconds: float) -> Retention:
        return Retention(store=self.store, database=self.database, result_seconds=seconds)


@pytest.fixture
def shelf(database: Database, accepting: Accepting, store: ObjectStore) -> Shelf:
    return Shelf(database, accepting, store)


def input_of(job: Job) -> str:
    return job.spec.inputs["image"]


async def test_what_ended_long_enough_ago_goes_and_the_rest_stays(shelf: Shelf) -> None:
    now = time.time()
    old = await shelf.ended("aa", at=now - 100)
    young = await shelf.ended("bb", at=now)
    waiting = await shelf.job("cc", created_at=now - 1000)
    assert await shelf.retention(50).expire() == 1
    gone = await the_job(shelf.database, old.id)
    assert gone.removed_at == pytest.approx(time.time(), abs=30)
    assert (gone.state, gone.sequence) == (JobState.SUCCEEDED, 1)
    assert (gone.spec.inputs, gone.spec.parameters, gone.output, gone.logs) == ({}, {}, None, "")
    assert (await the_job(shelf.database, young.id)).output is not None
    assert await shelf.keys() == {
        input_of(young),
        input_of(waiting),
        f"outputs/{young.id}/t/0.png",
    }
    assert await shelf.retention(50).expire() == 0


async def test_zero_keeps_for_ever(shelf: Shelf) -> None:
    job = await shelf.ended("aa", at=1.0)
    assert await shelf.retention(0).expire() == 0
    assert (await the_job(shelf.database, job.id)).removed_at is None


async def test_equal_images_of_jobs_and_files_go_one_by_one(shelf: Shelf) -> None:
    first, second = await shelf.ended("aa", at=1.0), await shelf.ended("aa", at=2.0)
    file = await shelf.file("aa")
    remover = Remover(store=shelf.store, database=shelf.database)
    assert await remover.remove([first.id]) == 1
    assert await shelf.store.get(input_of(second)) == b"image"
    assert await remover.remove([second.id]) == 1
    assert await shelf.keys() == {file.key}
    assert await remover.remove_files([file.id]) == 1
    assert await shelf.keys() == set()


@pytest.mark.parametrize("first", ["maker", "heir"])
async def test_a_result_that_a_later_job_took_over_goes_with_the_last_of_them(
    shelf: Shelf, first: str
) -> None:
    maker = await shelf.ended("aa", at=1.0, reuse_key="same")
    heir = new_job(reuse_key="same")
    async with shelf.database.write() as connection:
        assert await take_over(connection, heir, maker.id, None) is not None
    other = await shelf.ended("aa", at=1.0, reuse_key="same")  # it made the same by itself
    remover = Remover(store=shelf.store, database=shelf.database)
    shared = {input_of(maker), f"outputs/{maker.id}/t/0.png"}
    others = {input_of(other), f"outputs/{other.id}/t/0.png"}
    order = [maker.id, heir.id] if first == "maker" else [heir.id, maker.id]
    await remover.remove(order[:1])
    assert await shelf.keys() == shared | others
    assert await remover.delete_unwanted(shared) == 0  # nor does the sweep of orphans take them
    await remover.remove(order[1:])
    assert await shelf.keys() == others


async def test_what_has_not_ended_cannot_be_removed(shelf: Shelf) -> None:
    job = await shelf.job("aa")
    assert await Remover(store=shelf.store, database=shelf.database).remove([job.id]) == 0
    assert (await the_job(shelf.database, job.id)).spec == job.spec
    assert await shelf.keys() == {input_of(job)}


async def test_one_object_that_cannot_be_deleted_holds_up_nothing_and_is_swept_later(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [await shelf.ended(f"a{number}", at=1.0) for number in range(3)]
    stuck = f"outputs/{made[1].id}/t/0.png"
    broken = OneBadKey(shelf.store, stuck)
    expiring = Retention(store=broken, database=shelf.database, result_seconds=1)
    assert await expiring.expire() == 3
    assert await shelf.keys() == {stuck}
    monkeypatch.setattr(retention, "ORPHAN_SECONDS", -60.0)
    assert await expiring.sweep_orphans() == 0
    assert await shelf.retention(1).sweep_orphans() == 1
    assert await shelf.keys() == set()


async def test_many_go_in_batches(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MOST_JOBS", 2)
    monkeypatch.setattr(retention, "MOST_BATCHES", 2)
    for number in range(5):
        await shelf.ended(f"a{number}", at=float(number + 1))
    expiring = shelf.retention(1)
    assert [await expiring.expire() for _ in range(3)] == [4, 1, 0]
    assert await shelf.keys() == set()


async def test_files_expire_with_their_bytes(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    file = await shelf.file("ff")
    monkeypatch.setattr(retention, "ORPHAN_SECONDS", -60.0)
    assert await shelf.retention(0).sweep_orphans() == 0
    assert await shelf.keys() == {file.key}
    assert await shelf.retention(1).expire() == 1
    assert await shelf.keys() == set()


async def test_orphans_go_after_a_day_and_nothing_else_does(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, running = await shelf.ended("aa", at=time.time()), await shelf.job("bb")
    kept = {
        *await shelf.keys(),
        f"outputs/{running.id}/t/0.png",  # its attempt may still win
        "models/m/main/weights",
    }
    orphans = {
        f"outputs/{live.id}/lost/0.png",  # of an attempt that lost
        "outputs/nobody/t/0.png",
        input_key("local", "nobody", "dd", time.time()),
        input_key("local", running.id, "bb", time.time()),  # of a request that was sent twice
    }
    for key in kept | orphans:
        await shelf.store.put(key, b"x", "image/png")
    assert await shelf.retention(0).sweep_orphans() == 0  # they are younger than a day
    monkeypatch.setattr(retention, "ORPHAN_SECONDS", -60.0)
    assert await shelf.retention(0).sweep_orphans() == 4
    assert await shelf.keys() == kept


async def test_a_sweep_goes_on_where_its_last_round_stopped(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MOST_JOBS", 2)
    monkeypatch.setattr(retention, "MOST_BATCHES", 1)
    monkeypatch.setattr(retention, "ORPHAN_SECONDS", -60.0)
    live = [await shelf.ended(f"a{number}", at=time.time()) for number in range(2)]
    kept = await shelf.keys()
    await shelf.store.put("outputs/nobody/t/0.png", b"x", "image/png")
    sweeping = shelf.retention(0)
    assert sum([await sweeping.sweep_orphans() for _ in range(4)]) == 1
    assert await shelf.keys() == kept
    assert len(live) == 2


async def test_each_look_reads_an_index(shelf: Shelf) -> None:
    queries = {
        "ix_jobs_kept": select(jobs.c.id)
        .where(KEPT, jobs.c.completed_at < LATER)
        .order_by(jobs.c.completed_at, jobs.c.id)
        .limit(9),
    }
    async with shelf.database.read() as connection:
        dialect = connection.dialect
        if dialect.name == "postgresql":
            await connection.execute(text("SET enable_seqscan = off"))  # the table is small
        explain = "EXPLAIN QUERY PLAN " if dialect.name == "sqlite" else "EXPLAIN "
        for index, query in queries.items():
            words = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
            plan = (await connection.execute(text(explain + words.replace(":", "\\:")))).all()
            assert index in str(plan)


async def test_jobs_with_one_result_that_go_at_once_leave_nothing(shelf: Shelf) -> None:
    maker = await shelf.ended("aa", at=1.0, reuse_key="same")
    ids = [maker.id]
    for _ in range(5):
        heir = new_job(reuse_key="same")
        async with shelf.database.write() as connection:
            assert await take_over(connection, heir, maker.id, None) is not None
        ids.append(heir.id)
    remover = Remover(store=shelf.store, database=shelf.database)
    await asyncio.gather(*(remover.remove([id]) for id in ids))
    assert await shelf.keys() == set()


def file_of(image: str) -> FileRow:
    id = secrets.token_hex(8)
    return FileRow(
        id=id,
        owner="local",
        name="a.png",
        content_type="image/png",
        size=5,
        sha256=image,
        key=input_key("local", id, image, time.time()),
        metadata={},
        created_at=1.0,
    )
