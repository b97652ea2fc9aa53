"""Which workers Prometheus is to scrape: its HTTP service discovery, by their heartbeats. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable

from common.events import SILENT_SECONDS, WorkerHeartbeat


def targets(
    workers: Iterable[WorkerHeartbeat], *, now: float, host: str, loopback: str | None
) -> bytes:
    """Every live worker that serves metrics, as JSON.

    Those of this machine, whose name is `host`, are found at `loopback` where metrics are served
    there alone.
    """
    groups = []
    for last in sorted(workers, key=lambda last: last.worker):
        if last.metrics_port is None or last.at < now - SILENT_SECONDS:
            continue
        address = loopback if loopback and last.host == host else last.host
        labels = {"model": last.model, "worker": last.worker}
        if last.device:  # it is known once the model is loaded
            labels["device"] = last.device
        target = f"[{address}]" if ":" in address else address
        groups.append({"targets": [f"{target}:{last.metrics_port}"], "labels": labels})
    return json.dumps(groups).encode()
