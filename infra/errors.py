"""What can go wrong while servers are installed and run.

InfraError
├── MissingTools   a program is absent or too old; carries the line that root must run, if any
├── ToolFailed     a build or set-up command ended with an error
└── ServerFailed   a server ended, or did not answer in time
"""

from pathlib import Path

TAIL_LINES = 20


def tail(log: Path) -> str:
    """The last lines of a log, or a remark that it is not there."""
    if not log.exists():
        return "(no log was written)"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-TAIL_LINES:])


class InfraError(Exception):
    """The root of this package's errors."""


class MissingTools(InfraError):
    """Programs are absent or too old.

    `root_line` is the command that root must run, or None where no single line would do.
    """

    def __init__(self, message: str, root_line: str | None = None) -> None:
        super().__init__(message)
        self.root_line = root_line


class _LoggedError(InfraError):
    """An error whose cause stands in a log; the message holds the log's end and its path."""

    def __init__(self, name: str, reason: str, log: Path) -> None:
        super().__init__(f"{name} {reason}; the end of {log}:\n{tail(log)}")
        self.name = name
        self.log = log


class ToolFailed(_LoggedError):
    """A build or set-up command ended with an error."""


class ServerFailed(_LoggedError):
    """A server ended, or did not answer in time."""
