"""Examples for /docs, made by the code that makes the replies."""

from __future__ import annotations

from typing import Any

import msgspec

from api.presenting import iso_time, version_id
from api.schemas import (
    DeadLetter,
    DeadLetterGroup,
    DeadLetterUrls,
    FileUrls,
    Metrics,
    Model,
    ModelVersion,
    Prediction,
    PredictionUrls,
    Queue,
    StoredFile,
    WorkerView,
)
from common.job import JobState, Priority

_BASE = "http://127.0.0.1:8000"
_ID = "019aa5f0-2c44-7b1e-9d6f-3f0c8a51e7d2"
_FILE_ID = "019aa5ef-97d0-7c33-8a40-61f3a2b9c0de"
_SHA256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
_LINK = f"{_BASE}/v1/results/{_ID}/5f0c1b7e9a3d42688e7d10c4b2a96f53"
_URL = f"{_BASE}/v1/predictions/{_ID}"
_TIME = 1_795_255_200.0
_VERSION = version_id("darkroom/shapes", "main")

# A red circle on white: a request that holds it works as it stands.
PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAABAAQMAAACQp+OdAAAABlBMVEX////cHh7/Hx"
    "2WAAAAcklEQVR42s3QsQ3CMBSE4c/PSKRkBDYhbO4RGCEjuIwQiilMCgsKyvzV6e6e9HQcj3P9iNuGjCWlIkjMvd"
    "JaJZiYiP00uHAiuBJjNJNGp5MpSOU7+kdkzNx/dwptdBY2gsprjFZWgicPgtZ/29cY9jkAb7FqFwcNkzldAAAAAE"
    "lFTkSuQmCC"
)
PREDICTION_REQUEST = {
    "model": "darkroom/shapes",
    "input": {"image": PICTURE, "max_new_tokens": 32},
    "priority": "normal",
    "start_by": 600,
    "labels": ["holiday"],
    "metadata": {"album": 7},
}
PREDICTION_OF_FILE_REQUEST = {
    "model": "darkroom/shapes",
    "input": {"image": _FILE_ID},
}
PREDICTION_OF_URL_REQUEST = {
    "model": "darkroom/shapes",
    "input": {"image": "https://images.example.org/photo.jpg"},
}

_prediction = Prediction(
    id=_ID,
    model="darkroom/shapes",
    version=_VERSION,
    status=JobState.SUCCEEDED,
    input={"image": f"sha256:{_SHA256}", "max_new_tokens": 32},
    output="a red circle on a white background",
    error=None,
    error_code=None,
    logs="",
    metrics=Metrics(queue_time=0.012, predict_time=0.041, total_time=0.06),
    created_at=iso_time(_TIME),
    started_at=iso_time(_TIME + 0.012),
    completed_at=iso_time(_TIME + 0.06),
    start_by=None,
    priority=Priority.NORMAL,
    labels=("holiday",),
    metadata={"album": 7},
    group_id=None,
    attempt=1,
    retry_of=None,
    reused=False,
    reused_from=None,
    queue=Queue(position=None, eta_seconds=None, reason=""),
    access_link=_LINK,
    data_removed=False,
    urls=PredictionUrls(get=_URL, cancel=f"{_URL}/cancel", stream=f"{_URL}/stream", web=_URL),
)
_starting = msgspec.structs.replace(
    _prediction,
    status=JobState.STARTING,
    output=None,
    metrics=Metrics(queue_time=None, predict_time=None, total_time=None),
    started_at=None,
    completed_at=None,
    attempt=0,
    queue=Queue(position=None, eta_seconds=None, reason="waiting for a consumer"),
)
_retried = msgspec.structs.replace(_starting, retry_of="019aa5ee-10bb-7d54-b0c3-7c5ad41f08e9")
_canceled = msgspec.structs.replace(
    _starting,
    status=JobState.CANCELED,
    error="The prediction was canceled.",
    error_code="canceled",
    completed_at=iso_time(_TIME + 2),
    metrics=Metrics(queue_time=None, predict_time=None, total_time=2.0),
    queue=Queue(position=None, eta_seconds=None, reason=""),
)
_file = StoredFile(
    id=_FILE_ID,
    name="photo.jpg",
    content_type="image/jpeg",
    size=204_800,
    etag=_SHA256,
    checksums={"sha256": _SHA256},
    metadata={},
    created_at=iso_time(_TIME),
    expires_at=iso_time(_TIME + 2_592_000),
    urls=FileUrls(get=f"{_BASE}/v1/files/{_FILE_ID}"),
)
_version = ModelVersion(
    id=_VERSION, created_at=iso_time(_TIME), cog_version="0.9.0", openapi_schema={}
)
_model = Model(
    id="darkroom/shapes",
    object="model",
    created=int(_TIME),
    owned_by="darkroom",
    url=f"{_BASE}/v1/models/darkroom/shapes",
    owner="darkroom",
    name="shapes",
    description="image_to_text",
    visibility="public",
    run_count=0,
    task="image_to_text",
    makes="text",
    state="ready",
    reason="",
    workers=[WorkerView(id="host-4711", state="ready", device="cpu", running=0)],
    latest_version=_version,
)

_letter = DeadLetter(
    id=_ID,
    model="darkroom/shapes",
    cause="engine_crashed",
    error="It crashed the engine 3 times: the engine's process died (signal 11).",
    attempts=3,
    created_at=iso_time(_TIME),
    failed_at=iso_time(_TIME + 9),
    data_removed=False,
    urls=DeadLetterUrls(
        get=_URL,
        replay=f"{_BASE}/v1/dead-letters/{_ID}/replay",
        discard=f"{_BASE}/v1/dead-letters/{_ID}/discard",
    ),
)
_letters = DeadLetterGroup(
    model="darkroom/shapes",
    cause="engine_crashed",
    count=1,
    first_failed_at=iso_time(_TIME + 9),
    last_failed_at=iso_time(_TIME + 9),
    sample=_letter,
)

PREDICTION: Any = msgspec.to_builtins(_prediction)
STARTING: Any = msgspec.to_builtins(_starting)
RETRIED: Any = msgspec.to_builtins(_retried)
CANCELED: Any = msgspec.to_builtins(_canceled)
EVENTS = f"event: completed\ndata: {msgspec.json.encode(_prediction).decode()}\nid: 2\n\n"
STREAM = (
    "event: output\ndata: a red circle on a white background\nid: 2-1\n\n"
    "event: done\ndata: {}\nid: 2-2\n\n"
)
PREDICTIONS: Any = {"next": None, "previous": None, "results": [PREDICTION]}
DEAD_LETTER: Any = msgspec.to_builtins(_letter)
DEAD_LETTERS: Any = {"next": None, "previous": None, "results": [DEAD_LETTER]}
DEAD_LETTER_GROUPS: Any = {"results": [msgspec.to_builtins(_letters)]}
DEAD_LETTER_SELECTION = {"cause": "engine_crashed", "model": "darkroom/shapes"}
DEAD_LETTERS_REPLAYED: Any = {
    "done": 1,
    "remaining": 0,
    "results": [
        {
            "id": _ID,
            "prediction": "019aa5f3-5d1c-7a90-8e27-b4c1d0f6e3a8",
            "url": f"{_BASE}/v1/predictions/019aa5f3-5d1c-7a90-8e27-b4c1d0f6e3a8",
        }
    ],
    "refused": [],
}
DEAD_LETTERS_DISCARDED = {"done": 1, "remaining": 0, "ids": [_ID]}
FILE: Any = msgspec.to_builtins(_file)
FILES: Any = {"next": None, "previous": None, "results": [FILE]}
VERSION: Any = msgspec.to_builtins(_version)
VERSIONS: Any = {"next": None, "previous": None, "results": [VERSION]}
MODEL: Any = msgspec.to_builtins(_model)
MODELS: Any = {
    "object": "list",
    "data": [MODEL],
    "next": None,
    "previous": None,
    "results": [MODEL],
}
LINK = _LINK

_SCALING_DECISION: Any = {
    "id": "7b5f0c1b7e9a3d44",
    "at": "2026-11-21T10:00:01.500000Z",
    "scaler": "gpu-1-4711-0af3c2",
    "model": "darkroom/shapes",
    "before": 0,
    "after": 1,
    "reason": "12 jobs to do, and how long one takes is not known yet",
    "applied": True,
    "alert": "",
}
MODEL_SCALING: Any = {
    "model": "darkroom/shapes",
    "paused": False,
    "min": 0,
    "max": 3,
    "target": 10.0,
    "cooldown": 300.0,
    "hold_down": 180.0,
    "changed": {"max": 3, "target": 10.0},
    "ready": 1,
    "loading": 0,
    "last": _SCALING_DECISION,
}
SCALING: Any = {"mode": "on", "models": [MODEL_SCALING]}
SCALING_DECISIONS: Any = {"next": None, "previous": None, "results": [_SCALING_DECISION]}
