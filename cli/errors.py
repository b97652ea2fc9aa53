"""The errors that end a command, and the one that ends one item of it.

DarkroomError
├── CommandFailed           ends the command with its exit code
│   ├── UsageWrong          the command makes no sense as typed
│   ├── NotAllowed          the server wants other credentials
│   └── ServerUnavailable   it did not answer for as long as we wait
└── ItemFailed              this file will not work; the others go on
"""

from __future__ import annotations

from typing import ClassVar

from cli.exit_codes import ExitCode
from common.errors import DarkroomError


class CommandFailed(DarkroomError):
    """Ends the command. The message names the fix."""

    exit_code: ClassVar[ExitCode]


class UsageWrong(CommandFailed):
    exit_code = ExitCode.USAGE


class NotAllowed(CommandFailed):
    exit_code = ExitCode.AUTH


class ServerUnavailable(CommandFailed):
    exit_code = ExitCode.SERVER_UNAVAILABLE


class ItemFailed(DarkroomError):
    """This file failed, for the reason in the message. `code` is the server's stable code."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.code = code
