"""What the checker is worth: it names each fault that is planted in real data, and no other."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import msgspec
import pytest
from standardwebhooks import Webhook

from tests.e2e.stack import eventually
from tests.faults.asking import Asking
from tests.faults.checker import Verdict, check
from tests.faults.journal import Accepted, read_journal
from tests.faults.receiver import Letter, Receiver, read_letters
from tests.faults.stack import FaultStack

JOBS = 60
SECRET = "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0"


@dataclass(frozen=True)
class Remains:
    """What a run left, in a folder."""

    folder: Path

    def check(self) -> Verdict:
        return asyncio.run(
            check(
                journal=self.folder / "journal.jsonl",
                database=f"sqlite+aiosqlite:///{self.folder}/data/ledger.sqlite",
                store=f"file://{self.folder}/data/objects",
                letters=self.folder / "letters.jsonl",
            )
        )

    def sql(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.folder / "data/ledger.sqlite")) as ledger, ledger:
            assert ledger.execute(statement, values).rowcount == 1

    def one(self, wanted: Callable[[Accepted], bool]) -> Accepted:
        accepted = read_journal(self.folder / "journal.jsonl").accepted
        return next(entry for entry in accepted if wanted(entry))

    def told(self) -> Accepted:
        return self.one(lambda entry: entry.webhook)

    def filed(self) -> Accepted:
        """A job whose result is a file."""
        return self.one(lambda entry: len(entry.expected or "") > 20_000)

    def file_of(self, job: Accepted) -> Path:
        (found,) = (self.folder / "data/objects/outputs" / job.id).rglob("*.*")
        return found

    def letter_of(self, job: str) -> Letter:
        letters = read_letters(self.folder / "letters.jsonl")
        return next(each for each in letters if each.id == f"{job}_completed")

    def write_letters(self, letters: list[Letter]) -> None:
        lines = b"".join(msgspec.json.encode(letter) + b"\n" for letter in letters)
        (self.folder / "letters.jsonl").write_bytes(lines)

    def add_letter(self, letter: Letter) -> None:
        self.write_letters([*read_letters(self.folder / "letters.jsonl"), letter])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a stack that carried some jobs and was stopped."""
    folder = tmp_path_factory.mktemp("run")
    with FaultStack(folder, None) as stack:
        stack.api()
        stack.recorder()
        stack.notifier()
        stack.consumer()
        stack.start()
        asking = Asking(webhook=stack.receiver.url, seed=1)
        with stack.load(asking, rate=40, watch=1.0):
            eventually(lambda: stack.journal.count >= JOBS)
        stack.quiet(60)
    return folder


@pytest.fixture
def remains(run: Path, tmp_path: Path) -> Remains:
    """A copy to plant in."""
    shutil.copytree(run, tmp_path / "run")
    return Remains(tmp_path / "run")


def test_a_run_without_faults_is_sound(remains: Remains) -> None:
    verdict = remains.check()
    assert verdict.sound, verdict
    assert not verdict.failures()
    assert verdict.accepted >= JOBS
    assert verdict.letters > JOBS / 4
    assert verdict.ends.keys() == {"succeeded"}


def test_it_names_a_job_that_a_fault_failed(remains: Remains) -> None:
    """Its end was shown and told, so only how it ended is wrong."""
    job = remains.one(lambda entry: not entry.webhook and entry.key is None)
    remains.sql(
        "UPDATE jobs SET state = 'failed', error_code = 'store_unavailable', output = NULL "
        "WHERE id = ?",
        job.id,
    )
    verdict = remains.check()
    assert verdict.failures() == {"store_unavailable": 1}
    assert verdict.failures("store_unavailable") == {}


def _deleted(remains: Remains) -> str:
    job = remains.one(lambda entry: not entry.webhook and entry.key is None)
    remains.sql("DELETE FROM jobs WHERE id = ?", job.id)
    return job.id


def _unended(remains: Remains) -> str:
    job = remains.told()
    remains.sql("UPDATE jobs SET state = 'processing', completed_at = NULL WHERE id = ?", job.id)
    return job.id


@pytest.mark.parametrize("plant", [_deleted, _unended])
def test_it_names_a_planted_loss(remains: Remains, plant: Callable[[Remains], str]) -> None:
    job = plant(remains)
    (named,) = remains.check().lost
    assert job in named


def _second_job_of_a_request(remains: Remains) -> str:
    """As of a retry that was taken for another request, whose reply was lost as well."""
    job = remains.one(lambda entry: entry.key is None)
    other = remains.one(lambda entry: entry.id != job.id)
    same = json.dumps({"request": job.request})
    remains.sql("UPDATE jobs SET metadata = ? WHERE id = ?", same, other.id)
    return other.id


def _second_job_of_a_key(remains: Remains) -> str:
    job = remains.one(lambda entry: entry.key is not None)
    other = remains.one(lambda entry: entry.id != job.id)
    remains.sql("UPDATE idempotency_keys SET job = ? WHERE key = ?", other.id, job.key)
    return other.id


def _second_end_in_a_webhook(remains: Remains) -> str:
    job = remains.told()
    letter = remains.letter_of(job.id)
    body = json.loads(letter.body) | {"status": "failed", "output": None}
    remains.add_letter(msgspec.structs.replace(letter, body=json.dumps(body)))
    return job.id


def _second_end_in_a_reply(remains: Remains) -> str:
    seen = read_journal(remains.folder / "journal.jsonl").seen[0]
    other = msgspec.structs.replace(seen, completed_at="2026-01-01T00:00:00.000Z")
    with (remains.folder / "journal.jsonl").open("ab") as journal:
        journal.write(msgspec.json.encode(other) + b"\n")
    return seen.id


@pytest.mark.parametrize(
    "plant",
    [
        _second_job_of_a_request,
        _second_job_of_a_key,
        _second_end_in_a_webhook,
        _second_end_in_a_reply,
    ],
)
def test_it_names_a_planted_duplicate(remains: Remains, plant: Callable[[Remains], str]) -> None:
    job = plant(remains)
    (named,) = remains.check().duplicate
    assert job in named


def _another_output(remains: Remains) -> str:
    job = remains.one(lambda entry: not entry.webhook and len(entry.expected or "") < 100)
    forged = json.dumps({"text": "something else", "files": []})
    remains.sql("UPDATE jobs SET output = ? WHERE id = ?", forged, job.id)
    return job.id


def _a_losers_file(remains: Remains) -> str:
    job = remains.filed()
    remains.sql("UPDATE jobs SET token = 'another' WHERE id = ?", job.id)
    return job.id


def _anothers_file(remains: Remains) -> str:
    """Of the same length, under the loser's own name."""
    path = remains.file_of(job := remains.filed())
    path.write_text(path.read_text().replace(job.request, "0" * len(job.request)))
    return job.id


def _a_webhook_that_lies(remains: Remains) -> str:
    job = remains.told()
    letter = remains.letter_of(job.id)
    body = json.loads(letter.body) | {"output": "something else"}
    others = [each for each in read_letters(remains.folder / "letters.jsonl") if each != letter]
    lie = msgspec.structs.replace(letter, body=json.dumps(body))
    remains.write_letters([*others, lie])
    return job.id


def _a_webhook_by_somebody_else(remains: Remains) -> str:
    job = remains.told()
    letter = remains.letter_of(job.id)
    remains.add_letter(msgspec.structs.replace(letter, verified=False))
    return job.id


def _a_webhook_about_no_job(remains: Remains) -> str:
    letter = remains.letter_of(remains.told().id)
    remains.add_letter(msgspec.structs.replace(letter, id="nothing_completed"))
    return "nothing"


@pytest.mark.parametrize(
    "plant",
    [
        _another_output,
        _a_losers_file,
        _anothers_file,
        _a_webhook_that_lies,
        _a_webhook_by_somebody_else,
        _a_webhook_about_no_job,
    ],
)
def test_it_names_a_planted_forgery(remains: Remains, plant: Callable[[Remains], str]) -> None:
    job = plant(remains)
    (named,) = remains.check().forged
    assert job in named


def _not_sent(remains: Remains) -> str:
    job = remains.told()
    remains.sql("UPDATE webhook_deliveries SET state = 'pending' WHERE job = ?", job.id)
    return job.id


def _never_made(remains: Remains) -> str:
    job = remains.told()
    remains.sql("DELETE FROM webhook_attempts WHERE delivery = ?", f"{job.id}_completed")
    remains.sql("DELETE FROM webhook_deliveries WHERE job = ?", job.id)
    return job.id


def _never_received(remains: Remains) -> str:
    job = remains.told()
    letters = read_letters(remains.folder / "letters.jsonl")
    remains.write_letters([each for each in letters if not each.id.startswith(job.id)])
    return job.id


def _not_logged(remains: Remains) -> str:
    job = remains.told()
    remains.sql("DELETE FROM webhook_attempts WHERE delivery = ?", f"{job.id}_completed")
    return job.id


@pytest.mark.parametrize("plant", [_not_sent, _never_made, _never_received, _not_logged])
def test_it_names_what_nobody_was_told(remains: Remains, plant: Callable[[Remains], str]) -> None:
    job = plant(remains)
    (named,) = remains.check().untold
    assert job in named


def test_what_is_shown_as_exhausted_is_not_untold(remains: Remains) -> None:
    _never_received(remains)
    job = remains.told()
    remains.sql("UPDATE webhook_deliveries SET state = 'exhausted' WHERE job = ?", job.id)
    assert remains.check().sound


@pytest.mark.parametrize("place", ["outputs", "inputs"])
def test_it_names_a_missing_object(remains: Remains, place: str) -> None:
    folder = remains.folder / "data" / "objects"
    gone = next(path for path in folder.rglob(f"{place}/**/*") if path.is_file())
    gone.unlink()
    assert any(gone.name in named for named in remains.check().missing)


def test_the_receiver_tells_a_forged_letter_from_a_true_one(tmp_path: Path) -> None:
    with Receiver(tmp_path / "letters.jsonl", [SECRET]) as receiver:
        codes = [
            _post(receiver.url, by) for by in (SECRET, "whsec_" + "b3RoZXJvdGhlcm90aGVyb3RoZXI=")
        ]
    assert codes == [204, 400]
    assert [each.verified for each in read_letters(receiver.path)] == [True, False]


def _post(url: str, secret: str) -> int:
    moment, body = datetime.now(UTC), '{"id": "job"}'
    headers = {
        "webhook-id": "job_completed",
        "webhook-timestamp": str(int(time.time())),
        "webhook-signature": Webhook(secret).sign("job_completed", moment, body),
        "darkroom-event": "completed",
    }
    return httpx2.post(url, content=body, headers=headers, timeout=60, trust_env=False).status_code
