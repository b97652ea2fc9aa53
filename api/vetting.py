"""What a consumer says about a job, before the ledger believes it. Pure."""

from __future__ import annotations

import re

from msgspec.structs import replace

from common.events import JobCanceled, JobEvent, JobFailed, JobSucceeded
from common.scaling import ScalingDecided, ScalingEvent
from common.text import clean, shortened

_YEAR_5000 = 95_617_584_000  # seconds since the epoch
MOST_REASON = 1000  # characters
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


def cleaned(event: JobEvent | ScalingEvent) -> JobEvent | ScalingEvent:
    """The event with texts that the ledger can keep."""
    if isinstance(event, ScalingDecided):
        texts = {name: clean(getattr(event, name)) for name in ("id", "scaler", "model", "alert")}
        return replace(event, reason=shortened(clean(event.reason), MOST_REASON), **texts)
    if isinstance(event, JobFailed):
        return replace(
            event, code=clean(event.code), error=clean(event.error), logs=clean(event.logs)
        )
    if isinstance(event, JobSucceeded):
        output = event.output
        if output.text is not None:
            output = replace(output, text=clean(output.text))
        return replace(event, output=output, logs=clean(event.logs))
    if isinstance(event, JobCanceled):
        return replace(event, code=clean(event.code))
    return event


def refusal(event: JobEvent | ScalingEvent) -> str | None:
    """Why the event may not be believed: its files must lie under outputs/<job>/<token>/."""
    if not 0 <= event.at < _YEAR_5000:
        return "its time is no time of day"
    if not isinstance(event, JobSucceeded) or not event.output.files:
        return None
    if not _TOKEN.fullmatch(event.token):
        return "the attempt's token is not a word"
    for file in event.output.files:
        folder, _, name = file.key.rpartition("/")
        if folder != f"outputs/{event.job}/{event.token}" or not _NAME.fullmatch(name):
            return f"the output {file.key!r} does not lie in the attempt's own folder"
    return None
