"""The offline checker of promises 1, 2, 3 and 9: journal, ledger, objects and receiver agree.

It asks no process of Darkroom anything, and shares no line with it but the object store's driver.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.object_store import ObjectStore, open_object_store
from tests.faults.books import TERMINAL, Books, Row, iso_time, output_of, read_books
from tests.faults.journal import Accepted, Entries, read_journal
from tests.faults.receiver import Letter, read_letters


@dataclass
class Verdict:
    """What is wrong, a sentence each, and what was looked at. A sound one has five empty lists."""

    lost: list[str] = field(default_factory=list)  # accepted, and absent or without an end
    duplicate: list[str] = field(default_factory=list)  # more than one end, or job, was visible
    forged: list[str] = field(default_factory=list)  # said or stored what is not so
    untold: list[str] = field(default_factory=list)  # neither delivered nor shown as exhausted
    missing: list[str] = field(default_factory=list)  # objects that a live job names
    accepted: int = 0
    letters: int = 0
    ends: Counter[str] = field(default_factory=Counter)  # state, or error code of a failure
    longest_seconds: float = 0.0  # from acceptance to the end, of the slowest accepted job

    @property
    def sound(self) -> bool:
        return not any((self.lost, self.duplicate, self.forged, self.untold, self.missing))

    def failures(self, *meant: str) -> dict[str, int]:
        """Ends other than success and those that are meant, by error code or state."""
        return {end: n for end, n in self.ends.items() if end not in ("succeeded", *meant)}

    def __str__(self) -> str:
        lines = [
            f"{self.accepted} accepted, {self.letters} webhooks, {dict(self.ends)}, slowest "
            f"{self.longest_seconds:.1f} s"
        ]
        for name in ("lost", "duplicate", "forged", "untold", "missing"):
            found = getattr(self, name)
            lines.append(f"{name}: {len(found)}")
            lines += [f"  {line}" for line in found[:20]]
        return "\n".join(lines)


async def check(*, journal: Path, database: str, store: str, letters: Path | None) -> Verdict:
    """`database` and `store` are URLs as the settings have them."""
    books = await read_books(database)
    bucket = await open_object_store(store)
    objects = {found.key: found.size async for found in bucket.list("")}
    entries = read_journal(journal)
    texts = await _read(bucket, objects.keys() & set(_texts_expected(entries, books)))
    received = [] if letters is None else read_letters(letters)
    return judge(entries, books, objects, texts, received)


def _texts_expected(entries: Entries, books: Books) -> Iterator[str]:
    """Keys of the files that are to hold what was asked for."""
    for entry in entries.accepted:
        if entry.expected is not None and (job := books.jobs.get(entry.id)):
            yield from (file["key"] for file in output_of(job).get("files") or ())


async def _read(bucket: ObjectStore, keys: Iterable[str]) -> dict[str, str]:
    room = asyncio.Semaphore(16)

    async def one(key: str) -> tuple[str, str]:
        async with room:
            return key, (await bucket.get(key)).decode(errors="replace")

    return dict(await asyncio.gather(*map(one, keys)))


def judge(
    entries: Entries,
    books: Books,
    objects: Mapping[str, int],
    texts: Mapping[str, str],
    letters: Sequence[Letter],
) -> Verdict:
    """`objects`: key -> bytes; `texts`: what those hold whose text is known. Pure."""
    jobs = {entry.id: books.jobs.get(entry.id) for entry in entries.accepted}
    there = [(entry, job) for entry in entries.accepted if (job := jobs[entry.id])]
    spans = [job["completed_at"] - job["created_at"] for _, job in there if job["completed_at"]]
    return Verdict(
        lost=list(_lost(entries, jobs)),
        duplicate=[*_twins(entries, books), *_two_ends(entries, books, letters)],
        forged=[
            *_wrong_outputs(there, texts),
            *_wrong_places(books),
            *_wrong_letters(books, letters),
        ],
        untold=list(_untold(there, books, letters)),
        missing=list(_missing(books, objects)),
        accepted=len(jobs),
        letters=len(letters),
        ends=Counter(job["error_code"] or job["state"] for job in jobs.values() if job),
        longest_seconds=max(spans, default=0.0),
    )


def _lost(entries: Entries, jobs: Mapping[str, Row | None]) -> Iterator[str]:
    for entry in entries.accepted:
        job = jobs[entry.id]
        if job is None:
            yield f"{entry.id} was accepted and is not in the ledger"
        elif job["state"] not in TERMINAL or job["completed_at"] is None:
            yield f"{entry.id} was accepted and is {job['state']}"


def _twins(entries: Entries, books: Books) -> Iterator[str]:
    """One request, or one key, that made two jobs; those that nobody was told of count too."""
    made = defaultdict(set)
    for entry in entries.accepted:
        made[entry.request].add(entry.id)
        if entry.key is not None:
            made[f"key {entry.key}"].add(entry.id)
            if entry.key in books.keys:
                made[f"key {entry.key}"].add(books.keys[entry.key])
    for id, job in books.jobs.items():
        request = json.loads(job["metadata"]).get("request")
        if request is not None:
            made[request].add(id)
    for request, ids in made.items():
        if len(ids) > 1:
            yield f"{request} made {len(ids)} jobs: {', '.join(sorted(ids))}"


def _two_ends(entries: Entries, books: Books, letters: Sequence[Letter]) -> Iterator[str]:
    """Ends of one job that differ, wherever they were shown."""
    shown: dict[str, set[str]] = defaultdict(set)
    for seen in entries.seen:
        shown[seen.id].add(_end(seen.status, seen.output, seen.completed_at))
    for letter in letters:
        if letter.verified and letter.event == "completed":
            body = _body(letter)
            shown[_job_of(letter)].add(
                _end(body.get("status"), body.get("output"), body.get("completed_at"))
            )
    for id, ends in shown.items():
        job = books.jobs.get(id)
        if len(ends) > 1:
            yield f"{id} showed {len(ends)} ends: {' and '.join(sorted(ends))}"
        elif job is not None and next(iter(ends)) != (own := _end_of(job)):
            yield f"{id} showed {next(iter(ends))}, and the ledger has {own}"


def _end(status: object, output: object, completed_at: object) -> str:
    """Of a file the path counts: each process names the API's address that it knows."""
    return re.sub(
        r'"https?://[^/"]+(/v1/results/)', r'"\1', json.dumps([status, output, completed_at])
    )


def _end_of(job: Row) -> str:
    """The ledger's end, as it should be shown."""
    made, ended = output_of(job), job["completed_at"]
    link = f"/v1/results/{job['id']}/{job['link_token']}"
    files: Any = [f"{link}/{number}" for number in range(len(made.get("files") or ()))]
    output = made.get("text")
    if files:
        files = files[0] if len(files) == 1 else files
        output = files if output is None else {"text": output, "files": files}
    return _end(job["state"], output, None if ended is None else iso_time(ended))


def _wrong_outputs(
    there: Sequence[tuple[Accepted, Row]], texts: Mapping[str, str]
) -> Iterator[str]:
    for entry, job in there:
        made = output_of(job)
        text, files = made.get("text"), made.get("files") or ()
        if job["state"] != "succeeded":
            if made:
                yield f"{entry.id} is {job['state']} and has an output"
        elif text is None and not files:
            yield f"{entry.id} succeeded without an output"
        elif entry.expected is None:
            continue
        elif text is not None and text != entry.expected:
            yield f"{entry.id} made {text!r}, and {entry.expected!r} was asked for"
        elif text is None:
            made_here = [texts.get(file["key"], "") for file in files]
            if made_here != [entry.expected]:
                yield f"{entry.id} made {files} of other bytes than {entry.expected[:60]!r}"


def _wrong_places(books: Books) -> Iterator[str]:
    """Files are those of the winning attempt."""
    for id, job in books.jobs.items():
        for file in output_of(job).get("files") or ():
            if not file["key"].startswith(f"outputs/{id}/{job['token']}/"):
                yield f"{id} has the file {file['key']}, and its winner is {job['token']}"


def _wrong_letters(books: Books, letters: Sequence[Letter]) -> Iterator[str]:
    for letter in letters:
        id, body = _job_of(letter), _body(letter)
        job = books.jobs.get(id)
        if not letter.verified:
            yield f"{letter.id or 'a webhook without an id'} has a wrong signature"
        elif body.get("type") == "test":
            continue
        elif job is None or body.get("id") != id:
            yield f"{letter.id} tells of {body.get('id')}, which is no such job"
        elif letter.event != "start":
            said = _end(body.get("status"), body.get("output"), body.get("completed_at"))
            if said != (true := _end_of(job)) and not body.get("truncated"):
                yield f"{letter.id} says {said}, and the ledger {true}"
            elif body.get("error_code") != job["error_code"]:
                yield f"{letter.id} says {body.get('error_code')}, not {job['error_code']}"


def _untold(
    there: Sequence[tuple[Accepted, Row]], books: Books, letters: Sequence[Letter]
) -> Iterator[str]:
    heard = {letter.id for letter in letters if letter.verified}
    for entry, job in there:
        if not entry.webhook or job["state"] not in TERMINAL:
            continue
        id = f"{entry.id}_completed"
        row = books.deliveries.get(id)
        if row is None:
            yield f"{id} has no delivery"
        elif row["state"] not in ("delivered", "exhausted"):
            yield f"{id} is {row['state']} after {row['attempts']} attempts"
        elif row["state"] == "delivered" and id not in heard:
            yield f"{id} is delivered, says the ledger, and the receiver never had it"
    for id, row in books.deliveries.items():
        if row["attempts"] != books.attempts.get(id, 0):
            yield f"{id} had {row['attempts']} attempts, {books.attempts.get(id, 0)} are logged"


def _missing(books: Books, objects: Mapping[str, int]) -> Iterator[str]:
    for id, job in books.jobs.items():
        if job["removed_at"] is not None:
            continue
        for file in output_of(job).get("files") or ():
            if objects.get(file["key"]) != file["size"]:
                yield f"{id}: {file['key']} should have {file['size']} bytes, not " + str(
                    objects.get(file["key"])
                )
        for place in json.loads(job["inputs"]).values():
            if "://" not in place and place not in objects:
                yield f"{id}: its input {place} is gone"


def _job_of(letter: Letter) -> str:
    return letter.id.partition("_")[0]


def _body(letter: Letter) -> dict[str, Any]:
    try:
        body = json.loads(letter.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
