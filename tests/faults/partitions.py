"""Single processes that lose the way to single servers: packets vanish, and nobody is told."""

from __future__ import annotations

import time
from contextlib import ExitStack

from infra.kafka import Proxied
from infra.ports import free_ports
from infra.server import Server
from infra.servers import Servers
from tests.e2e.stack import eventually
from tests.faults.after_outages import unharmed, works_again
from tests.faults.asking import Asking
from tests.faults.stack import FaultStack
from tests.faults.tcp_proxy import TcpProxy

# Longer than the session of a member of a group (10 s), and than a command to the database or a
# request to the store may take (15 s).
CUT_SECONDS = 20.0
NAMES = {
    "kafka": "DARKROOM_JOB_LOG_URL",
    "minio": "DARKROOM_OBJECT_STORE_URL",
    "postgres": "DARKROOM_DATABASE_URL",
}


class Ways:
    """The way of each process to each server: a proxy of its own."""

    def __init__(self, own: Servers, *processes: str) -> None:
        self.own = own
        self._proxies: dict[tuple[str, str], TcpProxy] = {}
        listeners = []
        for process in processes:
            inner, *outer = free_ports(4)
            listeners.append(Proxied(inner, outer[0]))
            targets = (inner, own.minio.port, own.postgres.port)
            for server, port, target in zip(NAMES, outer, targets, strict=True):
                self._proxies[process, server] = TcpProxy(port, target)
        own.kafka.proxied = listeners

    def settings(self, stack: FaultStack, process: str) -> dict[str, str]:
        """By which it finds the servers on its own ways."""
        found = {}
        for server, name in NAMES.items():
            real: Server = getattr(self.own, server)
            way = f"127.0.0.1:{self._proxies[process, server].port}"
            found[name] = stack.environment[name].replace(real.address, way)
        return found

    def cut(self, *ways: tuple[str, str], seconds: float = CUT_SECONDS) -> None:
        """(process, server)s, all at once; they are healed afterwards."""
        for way in ways:
            self._proxies[way].cut()
        time.sleep(seconds)  # the fault itself
        for way in ways:
            self._proxies[way].heal()

    def __enter__(self) -> Ways:
        self._open = ExitStack()
        for proxy in self._proxies.values():
            self._open.enter_context(proxy)
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()


def cut_off(stack: FaultStack, ways: Ways) -> None:
    """Two ways at a time, each longer than any time-out on it."""
    with stack:
        stack.api(**ways.settings(stack, "api"))
        stack.recorder(**ways.settings(stack, "recorder"))
        stack.notifier()
        stack.consumer("far", **ways.settings(stack, "far"))
        stack.consumer("near")
        stack.start()
        asking = Asking(webhook=stack.receiver.url, delay=0.2)
        with stack.load(asking, rate=4, clients=8) as load:
            for cut in (
                (("api", "postgres"), ("far", "kafka")),
                (("recorder", "kafka"), ("far", "minio")),
                (("api", "kafka"), ("recorder", "postgres")),
            ):
                before = load.counts["202"]
                eventually(lambda before=before: load.counts["202"] > before + 10)  # type: ignore[misc]
                ways.cut(*cut)
                works_again(stack)
        assert load.unexpected == []
        unharmed(stack)
