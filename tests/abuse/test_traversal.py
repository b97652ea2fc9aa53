"""Names that mean to lead elsewhere: nothing outside the data folder is read or written."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from re import fullmatch
from urllib.parse import quote

import pytest

from common.object_store import open_object_store
from tests.abuse.bad_files import archive, picture
from tests.abuse.over_tcp import exchange, over_tcp
from tests.integration.api.running import Api

pytestmark = pytest.mark.anyio

SECRET = "canary-51b7"
UPS = "../" * 3 + "outside/secret.txt"  # from the data folder's insides, and from less far in
NAMES = [
    "../outside/secret.txt",
    UPS,
    "../" * 12 + "etc/passwd",
    "..\\..\\outside\\secret.txt",
    "....//....//outside/secret.txt",
    "..;/outside/secret.txt",
    "%2e%2e%2foutside%2fsecret.txt",
    "..%c0%afoutside/secret.txt",
    "..／outside／secret.txt",
    "/etc/passwd",
    "//etc/passwd",
    "file:///etc/passwd",
    "C:\\Windows\\win.ini",
    "\\\\host\\share",
    "~/.ssh/id_rsa",
    "$HOME/.netrc",
    "secret.txt\x00.png",
    "..",
    ".",
    "CON",
    "~unfinished",
    "ledger.sqlite",
]
# Where a name may stand in a path, how it is asked for, and what may answer.
PLACES = [
    ("GET", "/v1/predictions/{}"),
    ("DELETE", "/v1/predictions/{}"),
    ("POST", "/v1/predictions/{}/cancel"),
    ("POST", "/v1/predictions/{}/retry"),
    ("GET", "/v1/predictions/{}/stream"),
    ("GET", "/v1/files/{}"),
    ("DELETE", "/v1/files/{}"),
    ("GET", "/v1/results/{}/" + "0" * 32),
    ("GET", "/v1/results/a/{}"),
    ("GET", "/v1/results/a/" + "0" * 32 + "/{}"),
    ("GET", "/v1/models/{}"),
    ("GET", "/v1/models/darkroom/{}"),
    ("GET", "/docs/assets/{}"),
    ("GET", "/{}"),
]


class Opened:
    """What this process asks of the file system, while it is watched."""

    watched: list[str] | None = None

    @contextmanager
    def watch(self) -> Iterator[list[str]]:
        self.watched = []
        yield self.watched
        self.watched = None

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.watched is None or not event.startswith(("open", "os.", "shutil.")):
            return
        named = (one for one in arguments if isinstance(one, str | bytes | os.PathLike))
        paths = map(os.fsdecode, named)
        self.watched += [os.path.realpath(path) for path in paths if "\0" not in path]


OPENED = Opened()
sys.addaudithook(OPENED.hear)  # no hook can be taken away again


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a neighbour that is nobody's business."""
    folder = tmp_path_factory.mktemp("traversal")
    (folder / "outside").mkdir()
    (folder / "outside" / "secret.txt").write_text(SECRET)
    return folder


@pytest.fixture(scope="module")
async def api(folder: Path) -> AsyncIterator[Api]:
    async with over_tcp(folder) as api:
        yield api


def files_of(folder: Path) -> dict[str, int]:
    """Everything but the databases and the objects, with its size."""
    return {
        str(path): path.stat().st_size
        for path in folder.rglob("*")
        if not path.name.startswith(("log.sqlite", "ledger.sqlite"))
        and folder / "data" / "objects" not in path.parents
    }


@contextmanager
def unharmed(folder: Path) -> Iterator[None]:
    """Whatever happens inside stays inside."""
    before = files_of(folder)
    with OPENED.watch() as opened:
        yield
    assert files_of(folder) == before
    strange = [
        path
        for path in opened
        if path.startswith((f"{folder}/outside", "/etc/passwd", os.path.expanduser("~/.")))
    ]
    assert not strange


@pytest.mark.parametrize(("method", "place"), PLACES)
async def test_no_path_leads_out(api: Api, folder: Path, method: str, place: str) -> None:
    with unharmed(folder):
        for name in NAMES:
            for written in {quote(name, safe="/\\;:~$%"), quote(name, safe=""), quote(quote(name))}:
                target = place.format(written)
                head = f"{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
                reply = await exchange(api, head.encode())
                status = int(reply.split()[1])
                assert 400 <= status < 500, (target, reply[:300])
                assert SECRET.encode() not in reply, target
                assert b"root:" not in reply, target
    assert (await api.client.get("/livez")).status_code == 200


@pytest.mark.parametrize("name", NAMES)
async def test_no_upload_lands_where_its_name_says(api: Api, folder: Path, name: str) -> None:
    content = picture("PNG") + archive()  # nor is what is packed in it ever unpacked
    stored = {"inputs", "local"}
    with unharmed(folder):
        for path, field in (("/v1/files", "content"), ("/v1/predictions", "image")):
            reply = await api.client.post(
                path, files={field: (name, content, "image/png")}, data={"model": "darkroom/echo"}
            )
            if reply.status_code in (201, 202):
                continue
            assert reply.status_code < 500, reply.text
            assert reply.json()["detail"]
    objects = folder / "data" / "objects"
    parts = {part for file in objects.rglob("*") for part in file.relative_to(objects).parts}
    # days, and names of our own making: id, chance and digest
    strange = {
        part for part in parts - stored if not fullmatch(r"[0-9a-f-]+(\.[0-9a-f]+){0,2}", part)
    }
    assert strange <= {"~unfinished"}  # the folder of puts under way
    assert not list((objects / "~unfinished").iterdir())


@pytest.mark.parametrize("name", NAMES)
async def test_no_model_and_no_image_is_found_outside(api: Api, folder: Path, name: str) -> None:
    bodies = [
        {"model": name},
        {"model": f"darkroom/{name}"},
        {"model": f"darkroom/echo:{name}"},
        {"version": name},
        {"model": "darkroom/echo", "input": {"image": name}},
    ]
    with unharmed(folder):
        for body in bodies:
            reply = await api.client.post("/v1/predictions", json=body)
            assert 400 <= reply.status_code < 500, (body, reply.text)
            assert reply.json()["detail"]
            assert SECRET not in reply.text


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("CON", "ledger.sqlite")])
async def test_the_folder_of_objects_takes_no_such_key(folder: Path, name: str) -> None:
    store = await open_object_store(f"file://{folder}/data/objects")
    with unharmed(folder):
        for key in (name, f"inputs/{name}"):
            with pytest.raises(ValueError, match="not an object key"):
                await store.put(key, b"x", "image/png")
            with pytest.raises(ValueError, match="not an object key"):
                await store.get(key)
            with pytest.raises(ValueError, match="not an object key"):
                await store.delete(key)
            with pytest.raises(ValueError, match="not an object key"):
                await store.link(key, expires_in=60)


def test_the_watch_sees_what_is_read(folder: Path) -> None:
    with pytest.raises(AssertionError), unharmed(folder):
        (folder / "data" / ".." / "outside" / "secret.txt").read_text()
