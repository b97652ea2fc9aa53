"""What clients were promised, and what they saw: written down before they ask for anything more.

A line is on the disk when the call returns, so what a test did not write down was never promised.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec


class Accepted(msgspec.Struct, frozen=True, kw_only=True, tag="accepted"):
    """One reply 202 (or 201): from then on the job is ours to lose. Times: seconds, UTC."""

    id: str
    request: str  # what was asked, under a name of its own: also its metadata {"request": ...}
    at: float
    model: str = "darkroom/echo"
    expected: str | None = None  # the text that it should make; None: not known
    webhook: bool = False  # whether it named one, for the event `completed`
    key: str | None = None  # its Idempotency-Key


class Seen(msgspec.Struct, frozen=True, kw_only=True, tag="seen"):
    """An end as the API showed it to a client."""

    id: str
    status: str
    output: object
    completed_at: str | None  # as the API writes times


@dataclass(frozen=True)
class Entries:
    """A whole journal."""

    accepted: list[Accepted] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)


class Journal:
    """Appends to the file at `path`. Several threads may share one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0  # accepted
        self._lock = threading.Lock()
        self._file: IO[bytes] = path.open("ab")

    def accepted(
        self,
        id: str,
        *,
        request: str,
        model: str = "darkroom/echo",
        expected: str | None = None,
        webhook: bool = False,
        key: str | None = None,
    ) -> None:
        """Call it with each 202, before the next request."""
        self._write(
            Accepted(
                id=id,
                request=request,
                at=time.time(),
                model=model,
                expected=expected,
                webhook=webhook,
                key=key,
            )
        )
        self.count += 1

    def seen(self, id: str, *, status: str, output: object, completed_at: str | None) -> None:
        """Call it when the API shows that a job has ended."""
        self._write(Seen(id=id, status=status, output=output, completed_at=completed_at))

    def close(self) -> None:
        self._file.close()

    def _write(self, entry: Accepted | Seen) -> None:
        with self._lock:
            self._file.write(msgspec.json.encode(entry) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())


def read_journal(path: Path) -> Entries:
    """All that is in the file."""
    entries = Entries()
    for line in path.read_bytes().splitlines():
        match msgspec.json.decode(line, type=Accepted | Seen):
            case Accepted() as accepted:
                entries.accepted.append(accepted)
            case Seen() as seen:
                entries.seen.append(seen)
    return entries
