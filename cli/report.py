"""How a batch goes, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.errors import ItemFailed
from cli.exit_codes import ExitCode


class Report:
    """Counts what became of each picture. While it is open, a bar shows it on a terminal."""

    def __init__(self, folder: Path, *, total: int, skipped: int, quiet: bool) -> None:
        self._folder, self._total, self._skipped, self._quiet = folder, total, skipped, quiet
        self._done = 0
        self._failed: dict[Path, ItemFailed] = {}
        self._reasons: set[str] = set()
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task(folder.name or str(folder), total=total, completed=skipped)

    def __enter__(self) -> Report:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def waits(self, reason: str) -> None:
        """Why a job has not begun, or an empty string. Said once, above the bar."""
        if reason and reason not in self._reasons and not self._bar.disable:
            self._reasons.add(reason)
            self._say(reason)

    def done(self) -> None:
        self._done += 1
        self._bar.advance(self._task)

    def failed(self, image: Path, error: ItemFailed) -> None:
        self._failed[image] = error
        self._bar.advance(self._task)

    @property
    def exit_code(self) -> ExitCode:
        """For a batch that came to its end."""
        return ExitCode.SOME_FAILED if self._failed else ExitCode.OK

    def tell(self, *, as_json: bool) -> None:
        """The summary: one JSON object on stdout, or lines on stderr unless the batch is quiet."""
        failures = {self._name(image): error for image, error in sorted(self._failed.items())}
        left = self._total - self._skipped - self._done - len(failures)
        if as_json:
            summary = {
                "total": self._total,
                "done": self._done,
                "skipped": self._skipped,
                "failed": [
                    {"file": file, "error": str(error), "code": error.code}
                    for file, error in failures.items()
                ],
                "left": left,
            }
            print(json.dumps(summary), flush=True)
        elif not self._quiet:
            counts = {"done": self._done, "finished before": self._skipped}
            counts |= {"failed": len(failures), "left": left}
            self._say(", ".join(f"{count} {what}" for what, count in counts.items() if count))
            for file, error in failures.items():
                self._say(f"  {file}: {error}")

    def _name(self, image: Path) -> str:
        return image.relative_to(self._folder).as_posix()

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)
