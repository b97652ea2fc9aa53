"""From deliveries that are due to what is sent: bodies with the jobs as they are now, secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.database import jobs, webhook_secrets
from api.database.database import Database
from api.database.deliveries import Due
from api.database.webhook_secrets import Signers
from api.presenting import shown
from api.schemas import Queue
from api.webhooks.body import body_of, trial_body
from common.job import Job

_NOT_WAITING = Queue(position=None, eta_seconds=None, reason="")


@dataclass(frozen=True, slots=True)
class Letter:
    """A delivery with all that sending it takes."""

    due: Due
    body: bytes
    secrets: Sequence[str]  # each of them signs
    traceparent: str | None = None  # of the job


class Letters:
    """`base` is what links in the bodies begin with."""

    def __init__(self, database: Database, base: str) -> None:
        self._database, self._base = database, base

    async def of(self, due: Sequence[Due], now: float) -> list[Letter]:
        """Those that may be sent now: their endpoints are active. Raises LedgerUnavailable."""
        found, signers = await self._facts(due, now)
        letters = []
        for delivery in due:
            secrets, traceparent = _secrets(delivery, signers), None
            if delivery.job is None:
                body = trial_body(delivery.endpoint or "", delivery.created_at)
            elif delivery.job in found:
                job = found[delivery.job]
                body, traceparent = body_of(shown(job, self._base, _NOT_WAITING)), job.traceparent
            else:
                continue  # the job's row was deleted just now, and the delivery's with it
            if secrets:
                letters.append(Letter(delivery, body, secrets, traceparent))
        return letters

    async def _facts(self, due: Sequence[Due], now: float) -> tuple[dict[str, Job], Signers]:
        ids = {delivery.job for delivery in due if delivery.job is not None}
        endpoints = {delivery.endpoint for delivery in due if delivery.endpoint is not None}
        owners = {delivery.owner for delivery in due if delivery.endpoint is None}
        async with self._database.read() as connection:
            found = await jobs.get_each(connection, ids) if ids else {}
            signers = await webhook_secrets.signers(
                connection, endpoints=endpoints, owners=owners, at=now
            )
        for owner in owners - signers.of_owners.keys():
            async with self._database.write() as connection:
                secret = await webhook_secrets.default(connection, owner, now)
            signers.of_owners[owner] = (secret,)
        return found, signers


def _secrets(delivery: Due, signers: Signers) -> tuple[str, ...]:
    """None for an endpoint that is not active."""
    if delivery.endpoint is None:
        return signers.of_owners[delivery.owner]
    if signers.states.get(delivery.endpoint) != "active":
        return ()
    return signers.of_endpoints[delivery.endpoint]
