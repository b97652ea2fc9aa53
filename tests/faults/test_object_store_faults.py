"""A store that answers 500, cuts bodies half way, loses replies and stalls, before a real MinIO."""

from __future__ import annotations

import asyncio
import hashlib
import random
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import cycle
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from common.catalogue import ModelSpec, Task
from common.errors import ObjectMissing, StoreUnavailable
from common.events import JobStarted, JobSucceeded
from common.job_log import open_job_log
from common.object_store import ObjectStore, open_object_store
from tests.faults.s3_front import Fault, S3Front, no_fault
from tests.integration.test_consumer import Bench, ended

pytestmark = pytest.mark.anyio

# Answers with what it was given, so long that it becomes an object.
DIGEST = """
import hashlib
from consumers.custom_infer import CustomModel
class Digest(CustomModel):
    def load(self): pass
    def infer(self, image):
        return hashlib.sha256(image.tobytes()).hexdigest() * 2_000
"""
JOBS = 12
SEEN = (Fault.SERVER_ERROR, Fault.CUT_BODY, Fault.LOST_REPLY)


@pytest.fixture
def front(servers: dict[str, str]) -> Iterator[S3Front]:
    """Before the store of the tests."""
    endpoint = parse_qs(urlsplit(servers["DARKROOM_OBJECT_STORE_URL"]).query)["endpoint"][0]
    port = urlsplit(endpoint).port
    assert port is not None
    with S3Front(port) as front:
        yield front


@pytest.fixture
async def behind(front: S3Front) -> ObjectStore:
    """The store as it is seen through the front, its bucket its own."""
    name = "t" + secrets.token_hex(6)
    return await open_object_store(f"s3://{name}?endpoint=http://127.0.0.1:{front.port}")


def by_chance(chance: float, *faults: Fault) -> Callable[[str, str], Fault | None]:
    """So often a fault, each in its turn; what a method meets does not depend on the others."""
    dice: defaultdict[str, random.Random] = defaultdict(lambda: random.Random(5))
    turns: defaultdict[str, Iterator[Fault]] = defaultdict(lambda: cycle(faults))
    return lambda method, _path: next(turns[method]) if dice[method].random() < chance else None


async def test_a_body_that_is_cut_is_read_whole_or_not_at_all(
    front: S3Front, behind: ObjectStore
) -> None:
    content = secrets.token_bytes(300_000)
    await behind.put("inputs/one", content, "image/png")
    front.fault = by_chance(0.7, Fault.CUT_BODY)
    whole = refused = 0
    for _ in range(25):
        try:
            assert await behind.get("inputs/one") == content
            whole += 1
        except StoreUnavailable:
            refused += 1
    assert whole + refused == 25
    assert front.done["GET", Fault.CUT_BODY] > 10


async def test_a_put_that_is_cut_leaves_the_object_whole_or_absent(
    front: S3Front, behind: ObjectStore
) -> None:
    front.fault = by_chance(0.7, *SEEN)
    contents = {f"outputs/{number}": secrets.token_bytes(200_000) for number in range(20)}
    stored = set()
    for key, content in contents.items():
        try:
            await behind.put(key, content, "image/png")
            stored.add(key)
        except StoreUnavailable:
            continue
    front.fault = no_fault
    for key, content in contents.items():
        try:
            assert await behind.get(key) == content
        except ObjectMissing:
            assert key not in stored
    assert front.done["PUT", Fault.CUT_BODY] > 3


async def test_a_store_that_never_answers_is_away_after_a_while(
    front: S3Front, behind: ObjectStore
) -> None:
    await behind.put("inputs/one", b"x", "image/png")
    front.fault = lambda _method, _path: Fault.STALL
    async with asyncio.timeout(60):
        with pytest.raises(StoreUnavailable):
            await behind.get("inputs/one")


async def test_a_faulty_store_truncates_no_input_halves_no_output_and_burns_no_attempt(
    front: S3Front, behind: ObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "digest.py").write_text(DIGEST)
    model = ModelSpec(name="digest", task=Task.CUSTOM, path=tmp_path / "digest.py")
    log = await open_job_log(f"sqlite:///{tmp_path}/log.sqlite")
    bench = Bench(model, log, behind)
    pixels = [secrets.token_bytes(120 * 100 * 3) for _ in range(JOBS)]
    pictures = [_bmp(Image.frombytes("RGB", (120, 100), each)) for each in pixels]
    ids = [await bench.submit(picture) for picture in pictures]
    front.fault = by_chance(0.6, *SEEN)
    bench.start()
    told = {id: await bench.events(id, ended) for id in ids}
    front.fault = no_fault
    for id, each in zip(ids, pixels, strict=True):
        started, succeeded = told[id]  # one attempt
        assert isinstance(started, JobStarted)
        assert isinstance(succeeded, JobSucceeded)
        (file,) = succeeded.output.files
        digest = hashlib.sha256(each).hexdigest().encode()
        assert await behind.get(file.key) == digest * 2_000
    await bench.end()
    await bench.client.close()
    await log.close()
    for fault in SEEN:
        assert front.done["GET", fault]
        assert front.done["PUT", fault]


def _bmp(image: Image.Image) -> bytes:
    """A picture of which half is still one to a decoder that is not careful."""
    buffer = BytesIO()
    image.save(buffer, "BMP")
    return buffer.getvalue()
