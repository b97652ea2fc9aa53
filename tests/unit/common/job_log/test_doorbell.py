from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from common.job_log.sqlite.doorbell import Doorbell

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[4]
PATIENCE = 60.0  # seconds


@pytest.fixture(autouse=True)
def own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the sockets of one test are."""
    folder = tmp_path_factory.mktemp("d")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


async def test_a_ring_wakes_those_who_listen_to_its_topic_everywhere(tmp_path: Path) -> None:
    here, there = Doorbell(tmp_path / "log"), Doorbell(tmp_path / "log")
    woken = {name: asyncio.Event() for name in ("here", "there", "elsewhere")}
    here.listen(["events"], woken["here"].set)
    there.listen(["updates", "events"], woken["there"].set)
    there.listen(["updates"], woken["elsewhere"].set)

    here.ring(["events", "workers"])

    async with asyncio.timeout(PATIENCE):
        await woken["here"].wait()
        await woken["there"].wait()
    assert not woken["elsewhere"].is_set()
    here.close()
    there.close()


async def test_whoever_ignores_the_bell_is_not_woken(tmp_path: Path) -> None:
    bell = Doorbell(tmp_path / "log")
    woken, ignored = asyncio.Event(), asyncio.Event()
    bell.listen(["events"], ignored.set)
    bell.listen(["events"], woken.set)
    bell.ignore(ignored.set)

    bell.ring(["events"])

    async with asyncio.timeout(PATIENCE):
        await woken.wait()
    assert not ignored.is_set()
    bell.close()


async def test_a_living_process_and_a_closed_one_are_not_dead(tmp_path: Path) -> None:
    watching, living, closed = (Doorbell(tmp_path / "log") for _ in range(3))
    closed.close()

    assert watching.dead() == []
    living.close()
    watching.close()


async def test_a_killed_process_is_dead_until_it_is_buried(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib, sys, tempfile\n"
        "from common.job_log.sqlite.doorbell import Doorbell\n"
        "async def main():\n"
        "    tempfile.tempdir = sys.argv[2]\n"
        "    print(Doorbell(pathlib.Path(sys.argv[1])).name, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(tmp_path / "log"), tempfile.gettempdir()),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        name = (await process.stdout.readline()).decode().strip()
    watching = Doorbell(tmp_path / "log")
    assert watching.dead() == []

    process.send_signal(signal.SIGKILL)
    await process.communicate()

    assert watching.dead() == [name]
    watching.bury(name)
    assert watching.dead() == []
    watching.close()


def _is_empty(folder: Path) -> bool:
    return not list(folder.iterdir())


def _open_to_all(parent: Path) -> None:
    [folder] = parent.iterdir()
    folder.chmod(0o755)


async def test_a_folder_that_others_may_enter_is_refused_and_the_last_bell_takes_it_away(
    tmp_path: Path, own_folder: Path
) -> None:
    bell = Doorbell(tmp_path / "log")
    _open_to_all(own_folder)

    with pytest.raises(PermissionError, match="not a folder of this user alone"):
        Doorbell(tmp_path / "log")
    bell.close()
    assert _is_empty(own_folder)
