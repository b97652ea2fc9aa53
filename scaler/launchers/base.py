"""The contract of a launcher: it starts and stops consumers on this host."""

from __future__ import annotations

import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass

from common.errors import LaunchFailed

LONGEST_MODEL = 40  # characters of a model's name in a worker's


@dataclass(frozen=True, slots=True)
class Launched:
    """One consumer of ours."""

    id: str  # the worker's name, which its heartbeats bear
    model: str
    device: str = ""  # as CUDA_VISIBLE_DEVICES has it; empty: whatever it finds
    stopping: bool = False
    exit_code: int | None = None  # None while it lives
    output: str = ""  # the last lines of one that failed, where nobody else shows them

    @property
    def works(self) -> bool:
        return self.exit_code is None and not self.stopping

    @property
    def failed(self) -> bool:
        return self.exit_code not in (None, 0) and not self.stopping


class Launcher(ABC):
    """Starts consumers. It accepts nothing but a model of the catalogue.

    When a scaler ends, its consumers either end with it (processes) or go on and are found by the
    next one (containers). Either way each of them is shown by `running`, until it has ended.
    """

    def __init__(self, models: Collection[str]) -> None:
        self._models = frozenset(models)

    @abstractmethod
    async def running(self) -> list[Launched]:
        """All consumers; one that has ended appears once more, with its exit code.

        Only the scaler that decides may ask: another would take that from it. Raises
        LauncherUnavailable: nothing is known then.
        """

    async def start(self, model: str, device: str = "") -> Launched:
        """Start a consumer that sees that device alone, or all there are. Raises LaunchFailed."""
        if model not in self._models:
            raise LaunchFailed(f"the catalogue has no model {model!r}")
        return await self._start(model, device)

    @abstractmethod
    async def stop(self, id: str) -> None:
        """Ask it to finish its job and end. Returns at once; `running` tells when it did.

        Nothing if it has ended. Raises LauncherUnavailable.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of them: wait until those have ended that cannot outlive this process."""

    @abstractmethod
    async def _start(self, model: str, device: str) -> Launched: ...


def worker_name(prefix: str, model: str) -> str:
    """A name that no other worker has, and that containers may bear."""
    readable = re.sub(r"[^a-zA-Z0-9_.-]+", "-", model)[:LONGEST_MODEL]
    return f"{prefix}-{readable}-{secrets.token_hex(4)}"
