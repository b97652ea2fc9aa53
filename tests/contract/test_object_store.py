"""One suite over every object store."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from common.errors import ObjectMissing, SettingsInvalid, StoreUnavailable
from common.object_store import ObjectStore, open_object_store

pytestmark = pytest.mark.anyio

OpenStore = Callable[[], Awaitable[ObjectStore]]

HOSTILE = [
    "../outside",
    "inputs//a",
    "/etc/passwd",
    "inputs/a\0b",
    "a" * 600,
    "inputs/fotografía",
    "inputs/a?b=c",
]


NOBODY = "http://127.0.0.1:1"  # a port of root's that nothing listens on


def bucket_url(servers: dict[str, str], bucket: str) -> str:
    query = urlsplit(servers["DARKROOM_OBJECT_STORE_URL"]).query
    return f"s3://{bucket}?{query}"


@pytest.fixture(scope="module")
def bucket() -> str:
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return f"file://{tmp_path}/objects"
    servers: dict[str, str] = request.getfixturevalue("servers")
    return bucket_url(servers, request.getfixturevalue("bucket"))


@pytest.fixture
async def store(url: str) -> ObjectStore:
    return await open_object_store(url)


@pytest.fixture
def place() -> str:
    """A prefix of the test's own: the bucket serves the whole module."""
    return f"inputs/{uuid.uuid4().hex}"


async def keys_of(store: ObjectStore, prefix: str) -> list[str]:
    return [entry.key async for entry in store.list(prefix)]


async def test_what_was_put_is_what_is_got(store: ObjectStore, place: str) -> None:
    await store.put(f"{place}/a", b"\x00bytes\xff", "image/png")
    assert await store.get(f"{place}/a") == b"\x00bytes\xff"


async def test_a_second_put_replaces_the_first(store: ObjectStore, place: str) -> None:
    await store.put(f"{place}/a", b"first, and longer", "image/png")
    await store.put(f"{place}/a", b"second", "image/jpeg")
    assert await store.get(f"{place}/a") == b"second"


@pytest.mark.parametrize("size", [0, 1, 5 * 1024 * 1024 + 1])
async def test_an_object_of_any_size_comes_back_whole(
    store: ObjectStore, place: str, size: int
) -> None:
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    await store.put(f"{place}/a", content, "application/octet-stream")
    assert await store.get(f"{place}/a") == content
    assert [entry.size async for entry in store.list(place)] == [size]


async def test_a_missing_object_is_named(store: ObjectStore, place: str) -> None:
    with pytest.raises(ObjectMissing) as caught:
        await store.get(f"{place}/none")
    assert caught.value.key == f"{place}/none"


async def test_the_folder_of_an_object_is_no_object(store: ObjectStore, place: str) -> None:
    await store.put(f"{place}/a/b", b"x", "image/png")
    for key in (f"{place}/a", f"{place}/a/b/c"):
        with pytest.raises(ObjectMissing):
            await store.get(key)
        await store.delete(key)
    assert await keys_of(store, place) == [f"{place}/a/b"]


async def test_a_deleted_object_is_gone_and_may_be_deleted_again(
    store: ObjectStore, place: str
) -> None:
    await store.put(f"{place}/a", b"x", "image/png")
    await store.delete(f"{place}/a")
    await store.delete(f"{place}/a")
    with pytest.raises(ObjectMissing):
        await store.get(f"{place}/a")
    assert await keys_of(store, place) == []


async def test_a_listing_is_in_key_order_with_sizes_and_times(
    store: ObjectStore, place: str
) -> None:
    began = time.time()
    names = ["a-b", "a", "ab/c", "ab.d", "ab/c-d/e", "B", "0", "ab0"]
    for size, name in enumerate(names):
        await store.put(f"{place}/{name}", b"x" * size, "image/png")
    listed = [entry async for entry in store.list(f"{place}/")]
    assert [entry.key for entry in listed] == sorted(f"{place}/{name}" for name in names)
    assert {entry.key: entry.size for entry in listed} == {
        f"{place}/{name}": size for size, name in enumerate(names)
    }
    assert all(began - 2 <= entry.modified_at <= time.time() + 2 for entry in listed)


async def test_a_prefix_may_end_inside_a_name(store: ObjectStore, place: str) -> None:
    for name in ("2026-11-20/a", "2026-11-21/a", "2026-12-01/a", "2026"):
        await store.put(f"{place}/{name}", b"x", "image/png")
    assert await keys_of(store, f"{place}/2026-11") == [
        f"{place}/2026-11-20/a",
        f"{place}/2026-11-21/a",
    ]
    assert await keys_of(store, f"{place}/2026-11-21/") == [f"{place}/2026-11-21/a"]
    assert await keys_of(store, f"{place}/2026/") == []
    assert len(await keys_of(store, place)) == 4
    assert set(await keys_of(store, "")) >= set(await keys_of(store, place))


async def test_a_listing_goes_past_one_page(store: ObjectStore, place: str) -> None:
    names = [f"{place}/{number:04}" for number in range(1100)]
    for start in range(0, len(names), 100):
        await asyncio.gather(
            *(store.put(name, b"", "image/png") for name in names[start : start + 100])
        )
    assert await keys_of(store, place) == names


@pytest.mark.parametrize("key", HOSTILE)
async def test_a_hostile_key_reaches_no_store(store: ObjectStore, key: str) -> None:
    calls = (
        store.put(key, b"x", "image/png"),
        store.get(key),
        store.delete(key),
        store.link(key, expires_in=60),
        keys_of(store, key),
    )
    for call in calls:
        with pytest.raises(ValueError, match="not an object key"):
            await call


async def test_many_at_once_do_not_mix(store: ObjectStore, place: str) -> None:
    async def turn(number: int) -> None:
        key, content = f"{place}/{number % 7}/{number}", str(number).encode() * 1000
        await store.put(key, content, "image/png")
        assert await store.get(key) == content
        await store.delete(key)

    await asyncio.gather(*(turn(number) for number in range(100)))
    assert await keys_of(store, place) == []


async def test_a_reader_sees_the_old_object_or_the_new_one(store: ObjectStore, place: str) -> None:
    versions = [bytes([number]) * 200_000 for number in range(8)]
    await store.put(f"{place}/a", versions[0], "image/png")

    async def write() -> None:
        for version in versions:
            await store.put(f"{place}/a", version, "image/png")

    writing = asyncio.create_task(write())
    while not writing.done():
        assert await store.get(f"{place}/a") in versions
    await writing


async def test_two_who_open_a_new_store_at_once_share_it(
    request: pytest.FixtureRequest, url: str
) -> None:
    if url.startswith("s3:"):
        url = bucket_url(request.getfixturevalue("servers"), f"test-{uuid.uuid4().hex}")
    stores = await asyncio.gather(*(open_object_store(url) for _ in range(4)))
    await stores[0].put("a", b"x", "image/png")
    assert [await store.get("a") for store in stores] == [b"x"] * 4


class TestFolder:
    async def test_there_is_no_link(self, tmp_path: Path) -> None:
        store = await open_object_store(f"file://{tmp_path}")
        assert await store.link("a", expires_in=60) is None

    async def test_a_file_in_the_folders_place_is_no_store(self, tmp_path: Path) -> None:
        (tmp_path / "objects").write_text("not a folder")
        with pytest.raises(StoreUnavailable, match="objects"):
            await open_object_store(f"file://{tmp_path}/objects")

    async def test_a_folder_that_vanished_is_not_an_empty_store(self, tmp_path: Path) -> None:
        store = await open_object_store(f"file://{tmp_path}/objects")
        await store.put("a", b"x", "image/png")
        (tmp_path / "objects").rename(tmp_path / "elsewhere")
        (tmp_path / "objects").mkdir()
        with pytest.raises(StoreUnavailable):
            await store.get("a")
        with pytest.raises(StoreUnavailable):
            await store.put("a", b"y", "image/png")
        with pytest.raises(StoreUnavailable):
            await store.delete("a")
        with pytest.raises(StoreUnavailable):
            await keys_of(store, "")

    async def test_a_full_disk_leaves_the_old_object(self, tmp_path: Path) -> None:
        resource = pytest.importorskip("resource")
        store = await open_object_store(f"file://{tmp_path}/objects")
        await store.put("a", b"old", "image/png")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(StoreUnavailable):
                await store.put("a", b"n" * 200_000, "image/png")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert await store.get("a") == b"old"
        assert [path.name for path in (tmp_path / "objects").rglob("*") if path.is_file()] == ["a"]


class TestS3:
    async def test_a_link_gives_the_bytes_and_their_type_without_credentials(
        self, servers: dict[str, str], bucket: str
    ) -> None:
        store = await open_object_store(bucket_url(servers, bucket))
        await store.put("link/a.png", b"picture", "image/png")
        link = await store.link("link/a.png", expires_in=60)
        assert link is not None
        async with httpx2.AsyncClient(timeout=60) as client:
            reply = await client.get(link)
        assert (reply.status_code, reply.content) == (200, b"picture")
        assert reply.headers["content-type"] == "image/png"

    async def test_a_link_ends(self, servers: dict[str, str], bucket: str) -> None:
        store = await open_object_store(bucket_url(servers, bucket))
        await store.put("link/a.png", b"picture", "image/png")
        link = await store.link("link/a.png", expires_in=1)
        assert link is not None
        deadline = time.monotonic() + 30
        async with httpx2.AsyncClient(timeout=60) as client:
            while (await client.get(link)).status_code == 200:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)
            assert (await client.get(link)).status_code == 403

    async def test_a_link_names_the_public_endpoint(
        self, servers: dict[str, str], bucket: str
    ) -> None:
        url = bucket_url(servers, bucket)
        store = await open_object_store(f"{url}&public_endpoint=https://pictures.example")
        link = await store.link("a", expires_in=300)
        assert link is not None
        assert link.startswith(f"https://pictures.example/{bucket}/a?")
        assert parse_qs(urlsplit(link).query)["X-Amz-Expires"] == ["300"]

    async def test_nobody_there_is_unavailable(self) -> None:
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1"):
            await open_object_store(f"s3://darkroom?endpoint={NOBODY}")

    async def test_a_bucket_that_vanished_is_not_an_empty_store(
        self, servers: dict[str, str]
    ) -> None:
        from common.object_store.s3 import S3ObjectStore, read_address

        store = S3ObjectStore(read_address(bucket_url(servers, f"test-{uuid.uuid4().hex}")))
        with pytest.raises(StoreUnavailable, match="no such bucket"):
            await store.get("a")
        with pytest.raises(StoreUnavailable, match="no such bucket"):
            await store.put("a", b"x", "image/png")
        with pytest.raises(StoreUnavailable, match="no such bucket"):
            await keys_of(store, "")

    async def test_wrong_credentials_name_the_fix(
        self, servers: dict[str, str], bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(SettingsInvalid, match="set AWS_ACCESS_KEY_ID"):
            await open_object_store(bucket_url(servers, bucket))
