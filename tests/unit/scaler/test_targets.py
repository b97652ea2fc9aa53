"""Where Prometheus finds the workers."""

from __future__ import annotations

import json

import msgspec

from common.events import WorkerHeartbeat, WorkerState
from scaler.targets import targets

HEARD = WorkerHeartbeat(
    worker="w1",
    model="o/m",
    state=WorkerState.READY,
    at=100.0,
    host="here",
    pid=1,
    device="cuda:0",
    metrics_port=9000,
)


def found(*workers: WorkerHeartbeat, now: float = 110.0, loopback: str | None = None) -> object:
    return json.loads(targets(workers, now=now, host="here", loopback=loopback))


def test_a_live_worker_is_a_target_that_says_whose_it_is() -> None:
    labels = {"model": "o/m", "worker": "w1", "device": "cuda:0"}
    assert found(HEARD) == [{"targets": ["here:9000"], "labels": labels}]


def test_a_worker_whose_device_is_not_known_yet_has_none() -> None:
    loading = msgspec.structs.replace(HEARD, state=WorkerState.LOADING, device="")
    assert found(loading) == [
        {"targets": ["here:9000"], "labels": {"model": "o/m", "worker": "w1"}}
    ]


def test_one_that_missed_three_heartbeats_is_gone() -> None:
    assert found(HEARD, now=130.0)
    assert found(HEARD, now=130.1) == []


def test_one_that_serves_no_metrics_is_no_target() -> None:
    assert found(msgspec.structs.replace(HEARD, metrics_port=None)) == []


def test_on_loopback_those_of_this_machine_are_found_there_and_others_by_their_name() -> None:
    other = msgspec.structs.replace(HEARD, worker="w2", host="there")
    groups = found(HEARD, other, loopback="127.0.0.1")
    assert isinstance(groups, list)
    assert [group["targets"] for group in groups] == [["127.0.0.1:9000"], ["there:9000"]]


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    groups = found(HEARD, loopback="::1")
    assert isinstance(groups, list)
    assert groups[0]["targets"] == ["[::1]:9000"]
