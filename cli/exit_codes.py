"""What the exit code of every command says."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    OK = 0
    SOME_FAILED = 1  # items that failed are listed, the others are done
    USAGE = 2  # the command makes no sense as typed
    AUTH = 3  # the server wants other credentials
    SERVER_UNAVAILABLE = 4
    INTERRUPTED = 130  # Ctrl-C, as shells have it
