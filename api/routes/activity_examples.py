"""An example of what the server does now, for /docs."""

from __future__ import annotations

from typing import Any

ACTIVITY: dict[str, Any] = {
    "at": "2026-11-21T10:00:05.000Z",
    "since": "2026-11-21T08:00:00.000Z",
    "models": [
        {
            "id": "darkroom/shapes",
            "state": "ready",
            "reason": "",
            "waiting": {"high": 0, "normal": 118, "low": 4},
            "running": 1,
            "done_last_minute": 37,
            "failed_last_hour": 2,
            "seconds_per_job": 1.62,
            "drain_seconds": 199.26,
        }
    ],
    "workers": [
        {
            "id": "host-4711-9f2c1d",
            "model": "darkroom/shapes",
            "state": "ready",
            "device": "cpu",
            "host": "host",
            "running": 1,
            "predictions": ["019aa5f0-2c44-7b1e-9d6f-3f0c8a51e7d2"],
            "done": 412,
            "heard_at": "2026-11-21T09:59:58.100Z",
        }
    ],
    "failures": [
        {
            "model": "darkroom/shapes",
            "cause": "engine_crashed",
            "count": 2,
            "last_at": "2026-11-21T09:41:12.300Z",
            "last_prediction": "019aa5e1-70aa-7c02-8b3f-54d1e02f9a61",
        }
    ],
}
