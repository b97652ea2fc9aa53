"""Single jobs of a stack under attack: sent and written down, looked at, and the verdict on all."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any

import httpx2
import psutil

from tests.e2e.stack import PLAIN, Json, eventually
from tests.faults.checker import Verdict
from tests.faults.stack import QUIET_SECONDS, FaultStack

TERMINAL = ("succeeded", "failed", "canceled")


def with_models(stack: FaultStack, *lines: str) -> None:
    """Its catalogue; call it before programs are added."""
    catalogue = stack.folder / "model_names.txt"
    catalogue.write_text("".join(f"{line}\n" for line in lines))
    stack.supervisor.environment = {
        **stack.supervisor.environment,
        "DARKROOM_MODEL_NAMES": str(catalogue),
    }


def chain(*points: str) -> Any:
    """To die at each of these, one a start, and from then on nowhere."""
    return lambda start: points[start] if start < len(points) else ""


def send(
    stack: FaultStack,
    model: str,
    *,
    image: bytes | None = None,
    priority: str = "normal",
    **asked: Any,
) -> Json:
    """One job with a webhook, written down once it is accepted. Raises TransportError.

    `asked`: its prompt, delay, or any other input; what an echo is to say is checked later.
    """
    reply = httpx2.post(
        f"{stack.urls[0]}/v1/predictions",
        timeout=60,
        **PLAIN,
        **request_for(stack, model, image=image, priority=priority, **asked),
    )
    assert reply.status_code == 202, reply.text
    job: Json = reply.json()
    stack.journal.accepted(
        job["id"],
        request=uuid.uuid4().hex,
        model=model,
        expected=asked.get("prompt"),
        webhook=True,
    )
    return job


def request_for(
    stack: FaultStack,
    model: str,
    *,
    image: bytes | None = None,
    priority: str = "normal",
    **asked: Any,
) -> dict[str, Any]:
    """The body, as arguments of the client: a form if there is an image."""
    fields = {"model": model, "priority": priority, "webhook": stack.receiver.url}
    if image is None:
        return {"json": {**fields, "input": asked}}
    return {"data": {**fields, **asked}, "files": {"image": image}}


def job_of(stack: FaultStack, id: str) -> Json:
    reply = httpx2.get(f"{stack.urls[0]}/v1/predictions/{id}", timeout=60, **PLAIN)
    found: Json = reply.raise_for_status().json()
    return found


def ended(stack: FaultStack, id: str, seconds: float = QUIET_SECONDS) -> Json:
    """The job once it has ended."""

    def look() -> Json | None:
        job = job_of(stack, id)
        return job if job["status"] in TERMINAL else None

    return eventually(look, seconds)


def all_jobs(stack: FaultStack) -> list[Json]:
    """Every job, page by page."""
    jobs: list[Json] = []
    with httpx2.Client(base_url=stack.urls[0], timeout=60, trust_env=False) as client:
        page = "/v1/predictions"
        while page:
            reply = client.get(page).raise_for_status().json()
            jobs += reply["results"]
            page = reply["next"]
    return jobs


def consumers(stack: FaultStack) -> list[psutil.Process]:
    """Every consumer's parent that lives, whoever started it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            words = process.cmdline()
            if words[1:3] == ["-m", "consumers"] and process.cwd() == str(stack.folder):
                found.append(process)
    return found


def attempts(jobs: Iterable[Json]) -> set[int]:
    """How often those that have ended were run."""
    return {job["attempt"] for job in jobs if job["completed_at"]}


def moment(text: str) -> float:
    """Of a time as the API writes it; seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def all_is_well(stack: FaultStack, *meant: str) -> Verdict:
    """Nothing lost, twice, forged or untold, once it is quiet; and all succeeded.

    `meant`: error codes of the jobs that were to fail, or states.
    """
    stack.quiet()
    verdict = stack.check()
    assert verdict.sound, str(verdict)
    assert not verdict.failures(*meant), str(verdict)
    assert verdict.accepted > 0
    for program in stack.supervisor.programs.values():
        assert "never retrieved" not in program.output.read_text(errors="replace"), program.output
    return verdict
