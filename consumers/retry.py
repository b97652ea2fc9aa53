"""Which failures of a run are tried again. A decision is a value; the consumer carries it out.

Unavailable dependencies do not come here: they are waited for, and burn no attempt.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import BadInput, DarkroomError, EngineCrashed, ObjectMissing, OutOfMemory

MOST_CRASHES = 3  # of one job that runs alone


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Run it once more, in a new engine process."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The job has failed: a stable code, and a sentence for the user."""

    code: str
    error: str


def decide(error: DarkroomError, crashes: int) -> TryAgain | GiveUp:
    """What follows from `error`, of a job that crashed `crashes` times, this one included."""
    match error:
        case EngineCrashed() if crashes < MOST_CRASHES:
            return TryAgain()
        case EngineCrashed():
            return GiveUp("engine_crashed", f"It crashed the engine {crashes} times: {error}.")
        case BadInput():
            return GiveUp(error.code, str(error))
        case OutOfMemory():
            return GiveUp("out_of_memory", f"The device's memory does not hold this job: {error}")
        case ObjectMissing():
            return GiveUp("input_missing", "The input is not in the object store any more.")
        case _:
            raise error
