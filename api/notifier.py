"""The notifier: sends the webhooks that are due, and keeps what came of each attempt."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence

import structlog

from api.database import deliveries
from api.database.database import Database
from api.database.deliveries import Due
from api.exposing.notifying import NotifierMetrics
from api.webhooks.letters import Letter, Letters
from api.webhooks.outcomes import OutcomeWriter
from api.webhooks.posting import post
from api.webhooks.turns import Turns
from common import topic
from common.crash_points import crash_point
from common.errors import Unavailable
from common.following import Follower
from common.guarded_client import GuardedClient
from common.job_log import JobLog, Start

MOST_SENDING = 200  # at once, in all
MOST_OF_A_HOST = 10  # ... so one that hangs leaves room; each idle connection costs every request
MOST_OF_AN_OWNER = MOST_SENDING // 2  # ... whose receivers may have any number of hosts
MOST_TAKEN = 1000  # being sent, or waiting here for their turn
MOST_CLAIMED = 50  # by one look; a host with more taken, or an owner with half of all, waits
LEASE_SECONDS = 60.0  # after which another process sends what one that died had taken
_TURN_SECONDS = 40.0  # what has waited here for longer could not be sent within its lease
PAUSED_SECONDS = 600.0  # until the deliveries of a paused endpoint are looked at again
POLL_SECONDS = 1.0  # what `updates` does not tell: retries, tests, what is sent again
_GATHER_SECONDS = 0.02  # between two looks, so that webhooks of one moment share them
_QUIET_SECONDS = 0.1  # after a look that found nothing: most jobs have no webhook
_LEAVE_SECONDS = 3.0  # for what is under way when the process stops

logger = structlog.get_logger(__name__)


class Notifier:
    """Sends by the schedule. Several processes may run one each: they share the deliveries.

    `base` is what links in the bodies begin with.
    """

    def __init__(
        self,
        *,
        database: Database,
        log: JobLog,
        client: GuardedClient,
        base: str,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        poll_seconds: float = POLL_SECONDS,
        metrics: NotifierMetrics | None = None,
    ) -> None:
        self._database, self._client, self._log = database, client, log
        self._clock, self._chance, self._poll_seconds = clock, chance, poll_seconds
        self._letters = Letters(database, base)
        self._outcomes = OutcomeWriter(database)
        self._wake = asyncio.Event()
        self._sending: dict[asyncio.Task[None], Due] = {}
        self._hosts = Turns(sending=MOST_OF_A_HOST, taken=MOST_CLAIMED + 1)
        self._owners = Turns(sending=MOST_OF_AN_OWNER, taken=MOST_TAKEN // 2)
        self._all_turns = asyncio.Semaphore(MOST_SENDING)
        self._metrics = metrics or NotifierMetrics()
        self._metrics.count_taken(lambda: len(self._sending))

    async def run(self) -> None:
        """Send until cancelled. While the database is gone it waits."""
        follower = Follower(
            self._log, topic.UPDATES, start=Start.LATEST, take=lambda _: self._wake.set()
        )
        follower.start()
        writing = asyncio.create_task(self._outcomes.run())
        try:
            while True:
                self._wake.clear()
                found = await self._look()
                await asyncio.sleep(_GATHER_SECONDS if found else _QUIET_SECONDS)
                if not found:
                    await self._woken()
        finally:
            await follower.close()
            await self._leave()
            writing.cancel()

    async def _woken(self) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), self._poll_seconds)
        except TimeoutError:
            return

    async def _look(self) -> bool:
        """Begin to send what is due and has room. False: there was nothing to begin with."""
        try:
            due = await self._claim()
            if due:
                await self._begin(due)
        except Unavailable as error:
            logger.warning("webhooks_wait", reason=str(error))
            return False
        except Exception:  # the loop's edge: the lease brings back what was taken
            logger.exception("notifier_failed")
            return False
        return bool(due)

    async def _claim(self) -> list[Due]:
        room = min(MOST_TAKEN - len(self._sending), MOST_CLAIMED)
        if room <= 0:
            return []
        now = self._clock()
        return await deliveries.claim(
            self._database,
            now=now,
            until=now + LEASE_SECONDS,
            most=room,
            no_hosts=self._hosts.full(),
            no_owners=self._owners.full(),
        )

    async def _begin(self, due: Sequence[Due]) -> None:
        now = self._clock()
        letters = await self._letters.of(due, now)
        for letter in letters:
            self._start(letter)
        paused = {each.id for each in due} - {letter.due.id for letter in letters}
        if paused:
            async with self._database.write() as connection:
                await deliveries.put_off(connection, paused, now + PAUSED_SECONDS)

    def _start(self, letter: Letter) -> None:
        task = asyncio.create_task(self._send(letter))
        self._sending[task] = letter.due
        self._hosts.take(letter.due.host)
        self._owners.take(letter.due.owner)
        task.add_done_callback(self._sent)

    async def _send(self, letter: Letter) -> None:
        taken_at = time.monotonic()
        host, owner = self._hosts.turn(letter.due.host), self._owners.turn(letter.due.owner)
        async with host, owner, self._all_turns:
            if time.monotonic() - taken_at > _TURN_SECONDS:
                return
            crash_point("notifier.before_post")
            try:
                outcome = await post(self._client, letter, clock=self._clock, chance=self._chance)
            except Exception:  # the task's edge: the lease brings it back
                logger.exception("webhook_not_sent", delivery=letter.due.id)
            else:
                crash_point("notifier.after_post")
                self._metrics.attempted(outcome)
                self._outcomes.add(outcome)

    def _sent(self, task: asyncio.Task[None]) -> None:
        due = self._sending.pop(task)
        self._hosts.give_back(due.host)
        self._owners.give_back(due.owner)
        self._wake.set()

    async def _leave(self) -> None:
        """Let what is under way end, for a moment; the rest is due again at once."""
        if self._sending:
            await asyncio.wait(list(self._sending), timeout=_LEAVE_SECONDS)
        cut = [due.id for due in self._sending.values()]
        for task in list(self._sending):
            task.cancel()
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._outcomes.written()
                if cut:
                    async with self._database.write() as connection:
                        await deliveries.put_off(connection, cut, self._clock())
        except (TimeoutError, Unavailable) as error:
            logger.warning("webhooks_left_to_their_lease", reason=str(error))
