"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is. Only `fail` makes the doctor's exit code 1."""

    OK = "ok"
    NOTE = "note"  # nothing is broken, and somebody may want to know
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. What failed has a fix."""

    part: str
    level: Level
    says: str
    fix: str = ""


def ok(part: str, says: str) -> Finding:
    return Finding(part, Level.OK, says)


def note(part: str, says: str, fix: str = "") -> Finding:
    return Finding(part, Level.NOTE, says, fix)


def fail(part: str, says: str, fix: str) -> Finding:
    return Finding(part, Level.FAIL, says, fix)
