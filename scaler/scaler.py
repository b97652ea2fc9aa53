"""The scaler: observe -> decide -> apply, again and again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping

import structlog

from common.errors import LaunchFailed
from common.job_log import JobLog
from scaler.exposing import Exposed
from scaler.history import History
from scaler.launchers import Launched, Launcher
from scaler.observation import Decision, Look, ModelSeen, Rules
from scaler.policy import Policy
from scaler.queues import Queue, Queues
from scaler.workers import Workers

ROUND_SECONDS = 0.5

logger = structlog.get_logger()


class Scaler:
    """Keeps each model at the number of consumers that the policy wants."""

    def __init__(
        self,
        *,
        rules: Mapping[str, Rules],
        log: JobLog,
        launcher: Launcher,
        policy: Policy,
        exposed: Exposed | None = None,
    ) -> None:
        """`rules` names the models."""
        self._rules = rules
        self._queues = Queues(log, rules)
        self._launcher = launcher
        self._policy = policy
        self._workers = Workers(log)
        self._exposed = exposed or Exposed()
        self._exposed.follow(self._workers.latest)
        self._histories: dict[str, History] = {}
        self._host = socket.gethostname()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; then every consumer is stopped and waited for."""
        clock = asyncio.get_running_loop().time
        self._workers.start()
        self._exposed.set_leader(True)
        try:
            while not stop.is_set():
                launched = await self._launcher.running()
                seen = await self._observe(launched, clock())
                decisions = self._policy.decide(seen, clock())
                self._exposed.saw(seen, decisions, clock())
                await self._apply(decisions, launched, clock())
                try:
                    await asyncio.wait_for(stop.wait(), ROUND_SECONDS)
                except TimeoutError:
                    continue
        finally:
            await self._launcher.close()
            await self._workers.close()

    async def _observe(self, launched: list[Launched], now: float) -> list[ModelSeen]:
        by_model: dict[str, list[Launched]] = {model: [] for model in self._rules}
        for one in launched:
            by_model[one.model].append(one)
        queues = await self._queues.look(now)
        return [self._see(model, queues[model], theirs, now) for model, theirs in by_model.items()]

    def _see(self, model: str, queue: Queue, launched: list[Launched], now: float) -> ModelSeen:
        for one in launched:
            if one.failed:
                logger.warning("consumer_died", model=model, exit_code=one.exit_code)
                self._exposed.failed(model)
        works = [one for one in launched if one.works]
        look = Look(
            lag=queue.lag,
            done=queue.done,
            consumers=len(works),
            ready=sum(self._workers.is_ready(self._host, one.pid) for one in works),
            stopping=sum(one.stopping and one.exit_code is None for one in launched),
            failed=sum(one.failed for one in launched),
            seconds_per_job=self._workers.seconds_per_job(model),
            cold_start=self._workers.cold_start(model),
        )
        if model not in self._histories:
            self._histories[model] = History(model, self._rules[model], now)
        return self._histories[model].see(look, now)

    async def _apply(self, decisions: list[Decision], launched: list[Launched], now: float) -> None:
        for decision in decisions:
            history = self._histories[decision.model]
            history.decided(decision, now)
            alive = [one for one in launched if one.model == decision.model and one.works]
            if len(alive) == decision.consumers:
                continue
            logger.info(
                "scaled",
                model=decision.model,
                consumers=len(alive),
                wanted=decision.consumers,
                reason=decision.reason,
            )
            for one in sorted(alive, key=self._use)[: len(alive) - decision.consumers]:
                await self._launcher.stop(one.id)
            for _ in range(decision.consumers - len(alive)):
                history.start(now)
                try:
                    await self._launcher.start(decision.model)
                except LaunchFailed as error:
                    history.fail(now)
                    self._exposed.failed(decision.model)
                    logger.error("launch_failed", model=decision.model, error=str(error))

    def _use(self, one: Launched) -> tuple[bool, bool]:
        """The least useful first: those that load, and then those that were idle."""
        at = self._host, one.pid
        return self._workers.is_ready(*at), self._workers.is_busy(*at)
