"""The database, the object store and the broker: killed under load, and gone for a minute."""

from __future__ import annotations

import time

from infra.servers import Servers
from tests.e2e.stack import eventually
from tests.faults.after_outages import ask, large_picture, refused, unharmed, works_again
from tests.faults.asking import Asking
from tests.faults.load import Load
from tests.faults.looking import all_jobs, attempts
from tests.faults.stack import FaultStack

GONE_SECONDS = 60.0
ALONE_SECONDS = 25.0  # of the object store's, before the job log is gone too


def without_servers(stack: FaultStack, own: Servers) -> None:
    """First the ledger's alone, then the object store's, and the job log's beside it."""
    with stack:
        stack.start_whole()
        asking = Asking(webhook=stack.receiver.url, delay=0.1)
        with stack.load(asking, rate=4, clients=4) as load:
            accepted(load, 20)
            own.postgres.kill()
            back_at = time.monotonic() + GONE_SECONDS
            while time.monotonic() < back_at:
                refused(ask(stack), "ledger_unavailable")
                time.sleep(1)
            own.postgres.start()
            works_again(stack)
            assert attempts(all_jobs(stack)) == {1}

            accepted(load, 20)
            own.minio.kill()
            gone_at = time.monotonic()
            while time.monotonic() < gone_at + GONE_SECONDS:
                refused(ask(stack, image=large_picture(9)), "store_unavailable")
                assert ask(stack).status_code == 202  # it runs, or the sweeper appends it
                if own.kafka.running and time.monotonic() > gone_at + ALONE_SECONDS:
                    own.kafka.kill()
                time.sleep(1)
            assert not own.kafka.running
            own.minio.start()
            own.kafka.start()
            works_again(stack, image=large_picture(9))
            accepted(load, 20)
        assert load.unexpected == []
        unharmed(stack)
        assert attempts(all_jobs(stack)) == {1}


def accepted(load: Load, more: int) -> None:
    """Wait until so many more jobs were accepted."""
    before = load.counts["202"]
    eventually(lambda: load.counts["202"] >= before + more)
