"""The engine's own process: reads frames from its parent, runs the model, answers.

It is started by consumers/engine_process.py and lives as long as its parent: at the end of the
pipe, or when the parent dies, it dies too, in the middle of whatever it does.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import traceback
from typing import BinaryIO

from msgspec.structs import replace

from common.crash_points import SETTING, arm, crash_point
from common.errors import ModelUnavailable, OutOfMemory
from common.processes import end_with_parent
from common.text import clean
from consumers.confinement import confine
from consumers.engine_protocol import (
    LENGTH_BYTES,
    Cancel,
    Exhausted,
    FromEngine,
    Load,
    Loaded,
    LoadFailed,
    Progress,
    Results,
    RunBatch,
    ToEngine,
    frame,
    to_engine,
)
from consumers.engines import open_engine
from consumers.engines.base import EngineOutput, EngineRefusal, EngineResult, Run


class Conversation(Run):
    """The two pipes. A thread reads, so that a cancellation arrives while the engine runs."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader, self._writer = reader, writer
        self._canceled: set[str] = set()
        self._work: queue.SimpleQueue[Load | RunBatch] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Load | RunBatch:
        return self._work.get()

    def say(self, message: FromEngine) -> None:
        self._writer.write(frame(message))
        self._writer.flush()

    def progress(self, id: str, fraction: float) -> None:
        self.say(Progress(id=id, fraction=fraction))

    def canceled(self, id: str) -> bool:
        return id in self._canceled

    def forget(self, batch: RunBatch) -> None:
        self._canceled.difference_update(item.id for item in batch.batch)

    def _read(self) -> None:
        while message := self._message():
            if isinstance(message, Cancel):
                self._canceled.add(message.id)
            else:
                self._work.put(message)
        os._exit(0)  # the parent closed the pipe or is gone; nobody wants what still runs

    def _message(self) -> ToEngine | None:
        length = self._reader.read(LENGTH_BYTES)
        if len(length) < LENGTH_BYTES:
            return None
        body = self._reader.read(int.from_bytes(length, "big"))
        return to_engine.decode(body)


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Stdin and stdout for frames alone: what a library prints goes to stderr."""
    reader, writer = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return reader, writer


def _clean(result: EngineResult) -> EngineResult:
    """A user's own model may make any text; what cannot be encoded must not end this process."""
    match result:
        case EngineOutput(text=str() as text):
            return replace(result, text=clean(text), logs=clean(result.logs))
        case EngineRefusal(error=error):
            return replace(result, error=clean(error))
    return result


def main() -> None:
    # The end of the pipe ends it too, but not while a library holds the interpreter's lock.
    end_with_parent(int(sys.argv[1]), signal.SIGKILL)
    if not confine():  # before there are other threads
        print("engine: this system has no Landlock, see docs/security.md", file=sys.stderr)
    # A terminal's Ctrl-C goes to the whole group; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    arm(os.environ.get(SETTING, ""))
    conversation = Conversation(*_own_pipes())
    load = conversation.next()
    assert isinstance(load, Load)
    engine = open_engine(
        load.model, device=load.device, dtype=load.dtype, max_pixels=load.max_pixels
    )
    try:
        engine.load()
    except ModelUnavailable as error:
        conversation.say(LoadFailed(reason=str(error)))
        return
    conversation.say(Loaded(device=engine.device))
    while True:
        batch = conversation.next()
        assert isinstance(batch, RunBatch)
        try:
            crash_point("engine.before_run")
            results = engine.run(batch.batch, conversation)
            crash_point("engine.after_run")
            conversation.say(Results(results=[_clean(result) for result in results]))
        except OutOfMemory as error:
            conversation.say(Exhausted(reason=str(error)))
        conversation.forget(batch)


if __name__ == "__main__":
    try:
        main()
    except Exception:  # noqa: BLE001  a broken device: this process is worth nothing any more
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
