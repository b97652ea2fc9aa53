"""The contract of a launcher: it starts and stops consumers on this host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Launched:
    """One consumer that this launcher started."""

    id: str
    model: str
    pid: int
    stopping: bool = False
    exit_code: int | None = None  # None while it lives

    @property
    def works(self) -> bool:
        return self.exit_code is None and not self.stopping

    @property
    def failed(self) -> bool:
        return self.exit_code not in (None, 0) and not self.stopping


class Launcher(ABC):
    """Starts consumers. It accepts nothing but a model of the catalogue."""

    @abstractmethod
    async def running(self) -> list[Launched]:
        """All consumers; one that has ended appears once more, with its exit code."""

    @abstractmethod
    async def start(self, model: str) -> Launched:
        """Raises LaunchFailed."""

    @abstractmethod
    async def stop(self, id: str) -> None:
        """Ask it to finish its job and end. Returns at once; `running` tells when it did."""

    @abstractmethod
    async def close(self) -> None:
        """Stop all, and wait until the last has ended."""
