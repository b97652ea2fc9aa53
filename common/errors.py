"""Every error that Darkroom raises on purpose.

    DarkroomError
    ├── SettingsInvalid         a setting makes no sense: the process refuses to start
    ├── CatalogueInvalid        a line of model_names.txt makes no sense
    ├── UnknownModel            a name that the catalogue does not have
    ├── WireInvalid             a message on the log that cannot be read
    ├── Unavailable             a dependency did not answer: wait, burn no attempt
    │   ├── LogUnavailable
    │   ├── StoreUnavailable
    │   ├── LedgerUnavailable
    │   └── LauncherUnavailable
    ├── UrlRefused              a user's URL leads where nothing of ours connects to
    ├── UrlUnreachable          a user's URL leads to a server that does not answer
    ├── ObjectMissing           the store answered: there is no such object
    ├── EngineError
    │   ├── BadInput            this input will never work: fail its job, try no more
    │   ├── OutOfMemory         the batch was too large: halve it
    │   ├── EngineCrashed       the engine's process died
    │   └── ModelUnavailable    the model cannot be loaded here: its jobs wait
    └── LaunchFailed            a consumer could not be started

Adapters translate their driver's errors into these with `from`.
"""

from __future__ import annotations

from collections.abc import Sequence


class DarkroomError(Exception):
    """The root: catch it at a process's edge only."""


class SettingsInvalid(DarkroomError):
    """A setting makes no sense; the message names it and the fix."""


class CatalogueInvalid(DarkroomError):
    """A line of the catalogue makes no sense."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"{file}:{line}: {reason}")
        self.file, self.line, self.reason = file, line, reason


class UnknownModel(DarkroomError):
    """The catalogue has no such model."""

    def __init__(self, model: str, known: Sequence[str]) -> None:
        super().__init__(
            f"There is no model {model!r}. Known models: {', '.join(known) or 'none'}."
        )
        self.model, self.known = model, tuple(known)


class WireInvalid(DarkroomError):
    """A message could not be decoded."""


class Unavailable(DarkroomError):
    """A dependency did not answer. Nothing is known about what was asked."""


class LogUnavailable(Unavailable):
    """The job log did not answer."""


class StoreUnavailable(Unavailable):
    """The object store did not answer."""


class LedgerUnavailable(Unavailable):
    """The database did not answer."""


class LauncherUnavailable(Unavailable):
    """What runs the consumers did not answer."""


class UrlRefused(DarkroomError):
    """A user's URL is not connected to; the message says why and names the fix."""


class UrlUnreachable(DarkroomError):
    """The server of a user's URL did not answer as HTTP has it. It is not ours to wait for."""


class ObjectMissing(DarkroomError):
    """The object store holds nothing under this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no object {key!r}")
        self.key = key


class EngineError(DarkroomError):
    """What an engine, or the process that holds it, may raise."""


class BadInput(EngineError):
    """This input will never work. `code` is stable and shown to the user."""

    def __init__(self, message: str, code: str = "bad_input") -> None:
        super().__init__(message)
        self.code = code


class OutOfMemory(EngineError):
    """The device's memory did not hold the batch."""


class EngineCrashed(EngineError):
    """The engine's process died while it held jobs."""


class ModelUnavailable(EngineError):
    """The model cannot be loaded here; the message says why and how to mend it."""


class LaunchFailed(DarkroomError):
    """A consumer could not be started."""
