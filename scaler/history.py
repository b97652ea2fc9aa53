"""What a scaler remembers of a model between two rounds. Pure: the clock is passed in."""

from __future__ import annotations

from collections import deque

from common.scaling import Rules
from scaler.observation import Decision, Look, ModelSeen
from scaler.rate import Rate

LONGEST_LOAD = 1800.0  # seconds; a model that takes longer has had its turn
SETTLED_SECONDS = 30.0  # a consumer that outlives the one that failed by this ends the row


class History:
    """Failures in a row, what was needed lately, and since when things are as they are."""

    def __init__(self, model: str, now: float) -> None:
        self.failures = 0
        self._model = model
        self._failed_at = 0.0
        self._started_at = 0.0  # the newest consumer
        self._fresh: set[str] = set()  # consumers started since one failed
        self._lived = 0.0  # how long the one lived that failed last
        self._idle_since = now
        self._unserved_since = now
        self._held_since = now  # since when it has had a consumer
        self._served_since = now
        self._stuck_since: float | None = None
        self._done: int | None = None
        self._arrivals = Rate()
        self._needs: deque[tuple[float, int]] = deque()  # (when, consumers), falling

    def see(self, look: Look, rules: Rules, now: float) -> ModelSeen:
        """Take in what a round finds, and add what is known from before."""
        if look.lag is not None and look.lag.jobs:
            self._idle_since = now
        if look.ready or (look.lag is not None and not look.lag.jobs):
            self._unserved_since = now
        if not look.consumers:
            self._held_since = now
        if not look.ready and now - self._held_since < LONGEST_LOAD:
            self._served_since = now
        self._watch(look, now)
        self._judge(look, now)
        if look.done is not None and look.lag is not None:
            self._arrivals.look(look.done + look.lag.jobs, now)
        if not self._needs:  # another scaler may have started them, for what it saw
            self._need(look.consumers, now)
        return ModelSeen(
            model=self._model,
            rules=rules,
            lag=look.lag,
            consumers=look.consumers,
            ready=look.ready,
            stopping=look.stopping,
            seconds_per_job=look.seconds_per_job,
            cold_start=look.cold_start,
            arrivals=self._arrivals.per_second,
            idle_since=self._idle_since,
            unserved_since=self._unserved_since,
            served_since=self._served_since,
            needed_lately=self._needed_since(now - rules.hold_down),
            failures=self.failures,
            failed_at=self._failed_at,
            stuck_since=self._stuck_since,
            memory=look.memory,
        )

    def decided(self, decision: Decision, now: float) -> None:
        """Remember what it needed."""
        self._need(decision.needed, now)

    def start(self, worker: str, now: float) -> None:
        """A consumer was started."""
        self._started_at = now
        self._fresh.add(worker)

    def fail(self, now: float) -> None:
        """A consumer died, or could not be started."""
        self.failures += 1
        self._failed_at = now
        self._fresh.clear()
        self._lived = now - self._started_at

    def _watch(self, look: Look, now: float) -> None:
        """Whether anything gets further. What is unknown may have."""
        works = bool(look.lag and look.lag.jobs and look.ready)
        since = self._stuck_since
        if not works or look.done != self._done or (since is not None and look.moved > since):
            since = None
        self._stuck_since = now if works and since is None else since

    def _judge(self, look: Look, now: float) -> None:
        # A large model may fail only after minutes of loading: being alive is no success yet. One
        # that does its work and is killed from time to time, however, is in no row of failures.
        # Only those started since count: others may work all the while.
        self._fresh &= look.alive.keys()
        settled = now > self._started_at + self._lived + SETTLED_SECONDS
        worked = look.done is not None and self._done is not None and look.done > self._done
        ready = any(look.alive[worker] for worker in self._fresh)
        if self._fresh and (settled or (worked and ready)):
            self.failures, self._lived = 0, 0.0
        if look.done is not None:
            self._done = look.done
        if look.failed:  # several that die together died of one cause
            self.fail(now)

    def _need(self, consumers: int, now: float) -> None:
        while self._needs and self._needs[-1][1] <= consumers:
            self._needs.pop()
        self._needs.append((now, consumers))

    def _needed_since(self, when: float) -> int:
        """The most that it needed at once since then."""
        while len(self._needs) > 1 and self._needs[0][0] < when:
            self._needs.popleft()
        return self._needs[0][1]
