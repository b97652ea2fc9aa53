"""`darkroom monitor` against a real API, with a consumer that the tests play."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from api.dependencies import Parts
from api.recorder import Recorder
from cli.client import Client
from cli.errors import CommandFailed, NotAllowed
from cli.exit_codes import ExitCode
from cli.monitoring.page import Page
from cli.monitoring.panels import Panel
from cli.monitoring.rows import models_of
from common import wire
from common.events import JobStarted, WorkerHeartbeat, WorkerState
from common.settings import Settings
from common.topic import WORKERS
from tests.e2e.stack import free_port
from tests.integration.api.conftest import api, jpeg, settings
from tests.integration.api.running import DEADLINE, Api, running_api
from tests.integration.api.serving import served

__all__ = ["api", "jpeg", "settings"]

pytestmark = pytest.mark.anyio

MODEL = "darkroom/captioner"
Ended = ExitCode | CommandFailed


class Watched:
    """The page as its user sees it."""

    def __init__(self, page: Page, pilot: Pilot[Ended]) -> None:
        self.page, self.pilot = page, pilot

    @property
    def text(self) -> str:
        strips = self.page.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    async def shows(self, *patterns: str) -> str:
        """The page once it has a line for each of these patterns."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            text = self.text
            if all(re.search(pattern, text) for pattern in patterns):
                return text
            await self.pilot.pause(0.05)
        raise AssertionError(f"{patterns} not all in:\n{self.text}")

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()


@asynccontextmanager
async def watching(
    url: str, key: str | None = None, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[Watched]:
    async with Client(url, key=key) as client:
        page = Page(client, url)
        async with page.run_test(size=size) as pilot:
            yield Watched(page, pilot)


@pytest.fixture
async def parts(api: Api, settings: Settings) -> AsyncIterator[Parts]:
    async with served(api, settings) as parts:
        yield parts


@asynccontextmanager
async def worker(api: Api) -> AsyncIterator[list[str]]:
    """Says each second that it lives, and that it runs what is in the list."""
    running: list[str] = []

    async def beat() -> None:
        while True:
            said = WorkerHeartbeat(
                worker="host-7-abc", model=MODEL, state=WorkerState.READY, at=time.time(),
                host="host", pid=7, device="cuda:0", running=tuple(running), jobs=41,
            )  # fmt: skip
            await api.log.append(WORKERS, said.worker, wire.encode(said), wire.HEADERS)
            await asyncio.sleep(1)

    beating = asyncio.create_task(beat())
    yield running
    beating.cancel()
    await asyncio.wait({beating})


def asked(parts: Parts) -> int:
    """How many times the page was answered."""
    counted = re.findall(
        r'http_requests_total{method="GET",route="/v1/activity",status="200"} (\S+)',
        parts.metrics.text().decode(),
    )
    return int(float(counted[0])) if counted else 0


async def test_a_job_is_seen_from_its_acceptance_to_its_end(
    api: Api, parts: Parts, jpeg: bytes
) -> None:
    async with watching(parts.settings.public_url) as watched:
        await watched.shows(r"Darkroom at http://127.0.0.1:\d+ · ready", "No worker runs")
        made = await api.submit(jpeg, priority="high")
        await watched.shows(rf"{MODEL} +off +1 +0 +0 +0 +0/min +\? +\?")
        async with worker(api) as running:
            await watched.shows(rf"host-7-abc +{MODEL} +ready +cuda:0 +41 +\d+ s nothing")
            started = JobStarted(job=made["id"], token="t1", at=time.time(), worker="host-7-abc")
            running.append(made["id"])
            await api.say(started)
            await watched.shows(
                rf"{MODEL} +1 ready +0 +0 +0 +1 +0/min", rf"\d+ s …\S*{made['id'][-8:]}"
            )
            running.clear()
            await api.succeed(made["id"], text="a circle")
            text = await watched.shows(rf"{MODEL} +1 ready +0 +0 +0 +0 +1/min", "nothing")
        assert all(len(line.rstrip()) <= 80 for line in text.splitlines())
        await watched.press("q")
    assert watched.page.return_value is ExitCode.OK


async def test_a_failed_job_and_a_dead_letter_show_up_with_their_cause_and_error(
    api: Api, parts: Parts, jpeg: bytes
) -> None:
    bad, dead = await api.submit(jpeg), await api.submit(jpeg, "darkroom/painter")
    async with watching(parts.settings.public_url, size=(150, 40)) as watched:
        await watched.shows("Nothing has failed in the last hour")
        await api.fail(bad["id"], "bad_input", "The PNG is damaged.")
        await api.fail(dead["id"], "engine_crashed", "It crashed the engine 3 times.")
        await watched.shows(
            rf"{MODEL} +bad_input +1 +0 +\d+ s +The PNG is damaged\.",
            r"darkroom/painter +engine_crashed +1 +1 +\d+ s +It crashed the engine 3 times\.",
            "failed 2/h",
        )
        await watched.press("tab", "enter")  # no worker: the next table is that of failures
        await watched.shows("in the last minute", "dead letters: darkroom dead-letters --help")


async def test_a_server_that_is_away_is_shown_as_such_with_the_last_answer_and_comes_back(
    api: Api, settings: Settings, jpeg: bytes
) -> None:
    port = free_port()
    async with watching(f"http://127.0.0.1:{port}") as watched:
        await watched.shows("NO ANSWER since", "All connection attempts failed|refused")
        async with served(api, settings, port=port):
            await watched.shows(" · ready", rf"{MODEL} +off")
        text = await watched.shows("NO ANSWER since", rf"{MODEL} +off", "as of")
        answered = re.search(r"as of (\S+)", text)
        assert answered
        await api.submit(jpeg)
        async with served(api, settings, port=port):
            text = await watched.shows(" · ready", rf"{MODEL} +off +0 +1")
        assert answered[0] not in text


async def test_what_is_no_darkroom_server_is_said() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, watching(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as page:
        await page.shows("is no Darkroom server")


async def test_a_server_that_does_not_answer_gets_one_question_at_a_time() -> None:
    open_now, most = 0, 0

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await reader.read()  # until the page gives up
        open_now -= 1
        writer.close()

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    async with server, watching(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as page:
        await page.shows("no answer within 5 s")
        for key in ("slash", "x", "escape", "question_mark", "escape"):
            await page.press(key)  # the page itself is as quick as ever
    assert most == 1


async def test_while_it_is_paused_nothing_is_asked(api: Api, parts: Parts, jpeg: bytes) -> None:
    async with watching(parts.settings.public_url) as watched:
        await watched.shows(rf"{MODEL} +off +0 +0")
        await watched.press("p")
        await watched.shows("PAUSED")
        await watched.pilot.pause(0.5)  # what was asked before is answered
        before = asked(parts)
        await api.submit(jpeg)
        await watched.pilot.pause(3)
        assert asked(parts) == before
        await watched.press("p")
        await watched.shows(rf"{MODEL} +off +0 +1")


async def test_models_are_found_by_letters_of_their_names_and_told_about(parts: Parts) -> None:
    async with watching(parts.settings.public_url) as watched:
        await watched.shows("darkroom/echo")
        await watched.press("slash", *"PAINT")
        assert "darkroom/echo" not in await watched.shows(r"Models with 'paint' \(1 of 3\)")
        await watched.press("enter", "enter")
        await watched.shows("darkroom/painter", "state +off: waiting for a consumer", "Back")
        await watched.press("escape", "slash", "x")
        await watched.shows("No model has 'x' in its name")
        await watched.press("escape")
        await watched.shows(r"Models \(3\)", "darkroom/echo", "darkroom/painter")
        await watched.press("question_mark")
        await watched.shows("is not known", "jobs that wait, by priority")


async def test_two_hundred_models_scroll_and_cost_the_page_and_the_server_little(
    settings: Settings, jpeg: bytes, tmp_path: Path
) -> None:
    names = [f"many/model-{number:03}" for number in range(199)]
    catalogue = "\n".join(f"{name} task=echo" for name in [MODEL, *names])
    many = tmp_path / "many.txt"
    many.write_text(catalogue)
    settings = settings.model_copy(update={"model_names": str(many)})
    async with (
        running_api(settings) as api,
        served(api, settings) as parts,
        watching(parts.settings.public_url) as watched,
    ):
        await watched.shows(r"Models \(200\)", "many/model-000")
        await watched.press("end", "ctrl+end")
        await watched.shows("many/model-198")
        before, began = asked(parts), time.monotonic()
        async with Client(parts.settings.public_url) as client:
            await client.submit(jpeg, {"model": "many/model-150"})
        await watched.shows("many/model-198", "waiting 1")  # the cursor stayed where it was
        took = []
        panel = watched.page.query_one("#models", Panel)
        assert watched.page.contact.seen is not None
        for letters in ("1", "", "2", "", "3", ""):  # all rows are made anew
            since = time.thread_time()
            panel.show(models_of(watched.page.contact.seen, letters, 79))
            took.append(time.thread_time() - since)
        assert sorted(took)[3] < 0.3, took
        assert asked(parts) - before <= time.monotonic() - began + 1


async def test_a_wrong_key_ends_the_page_with_the_servers_reason(settings: Settings) -> None:
    locked = settings.model_copy(update={"auth": "on"})
    async with running_api(locked) as api, served(api, locked) as parts:
        recording = asyncio.create_task(Recorder(log=api.log, database=api.database).run())
        url = parts.settings.public_url
        async with watching(url, key="dk_wrong") as watched:
            async with asyncio.timeout(DEADLINE):
                while watched.page.return_value is None:  # noqa: ASYNC110  it offers no event
                    await asyncio.sleep(0.05)
        assert isinstance(watched.page.return_value, NotAllowed)
        code, said = await in_a_terminal("--url", url, "--key", "dk_wrong")
        assert (code, "This is no key" in said) == (ExitCode.AUTH, True)
        recording.cancel()
        await asyncio.wait({recording})


async def test_in_a_real_terminal_it_draws_its_page_and_q_leaves(parts: Parts) -> None:
    code, drawn = await in_a_terminal(
        "--url", parts.settings.public_url, until="darkroom/captioner", then=b"q"
    )
    assert (code, "Models" in drawn) == (ExitCode.OK, True)
    code, _ = await in_a_terminal(
        "--url", parts.settings.public_url, until="darkroom/captioner", then=b"\x03"
    )
    assert code == ExitCode.INTERRUPTED


async def in_a_terminal(*words: str, until: str = "", then: bytes = b"") -> tuple[int | None, str]:
    """Exit code, and what was written; `then` is typed once `until` is."""
    ours, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "monitor", *words),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
        start_new_session=True,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    written = b""
    try:
        async with asyncio.timeout(2 * DEADLINE):
            ended = asyncio.create_task(process.wait())
            while not ended.done():
                try:
                    written += os.read(ours, 65536)
                except (BlockingIOError, OSError):
                    await asyncio.sleep(0.05)
                if then and until.encode() in written:
                    os.write(ours, then)
                    then = b""
            with_rest = written
            while chunk := _rest(ours):
                with_rest += chunk
    finally:
        if process.returncode is None:
            process.kill()
        os.close(ours)
    return process.returncode, with_rest.decode(errors="replace")


def _rest(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # its other end is closed, and all was read
        return b""


async def test_without_a_terminal_or_textual_the_way_out_is_named(parts: Parts) -> None:
    url = parts.settings.public_url
    hidden = "import sys; sys.modules['textual'] = None; from cli.__main__ import main; main()"
    for program, said in (
        (("-m", "cli"), f"curl {url}/v1/activity"),
        (("-c", hidden), "textual is not installed: pip install 'darkroom[tui]'"),
    ):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *program, "monitor", "--url", url),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(DEADLINE):
            _, complaint = await process.communicate()
        assert process.returncode == ExitCode.USAGE, complaint
        assert said in complaint.decode().replace("\n", " ")
