"""Where what an engine made is kept: short texts in the event itself, the rest as objects."""

from __future__ import annotations

from common.job import Output, OutputFile
from common.object_store import ObjectStore
from common.outage import until_available
from consumers.attempt import Attempt
from consumers.engines.base import EngineFile, EngineOutput

MOST_TEXT = 20_000  # bytes of a result that travel in the event; longer ones become a file
EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "text/plain": "txt"}


async def store_output(store: ObjectStore, attempt: Attempt, result: EngineOutput) -> Output:
    """What the attempt's last event says. Waits for a store that does not answer."""
    text, files = result.text, list(result.files)
    if text is not None and len(text.encode()) > MOST_TEXT:
        files.append(EngineFile(content=text.encode(), content_type="text/plain"))
        text = None
    stored = []
    for number, file in enumerate(files):
        extension = EXTENSIONS.get(file.content_type, "bin")
        key = f"outputs/{attempt.job}/{attempt.token}/{number}.{extension}"
        await until_available(store.put, key, file.content, file.content_type)
        stored.append(OutputFile(key=key, content_type=file.content_type, size=len(file.content)))
    return Output(text=text, files=tuple(stored))
