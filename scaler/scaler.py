"""The scaler: observe -> decide -> apply, again and again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping

import structlog

from common.errors import LaunchFailed, LogUnavailable
from common.job import Priority
from common.job_log import JobLog
from common.topic import consumer_group, job_topic, job_topics
from scaler.history import History
from scaler.launchers import Launched, Launcher
from scaler.observation import Decision, Lag, Look, ModelSeen, Rules
from scaler.policy import Policy
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
    ) -> None:
        """`rules` names the models."""
        self._rules = rules
        self._log = log
        self._launcher = launcher
        self._policy = policy
        self._workers = Workers(log)
        self._histories: dict[str, History] = {}
        self._host = socket.gethostname()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; then every consumer is stopped and waited for."""
        clock = asyncio.get_running_loop().time
        self._workers.start()
        try:
            while not stop.is_set():
                launched = await self._launcher.running()
                seen = await self._observe(launched, clock())
                await self._apply(self._policy.decide(seen, clock()), launched, clock())
                try:
                    await asyncio.wait_for(stop.wait(), ROUND_SECONDS)
                except TimeoutError:
                    continue
        finally:
            await self._launcher.close()
            await self._workers.close()

    async def _observe(self, launched: list[Launched], now: float) -> list[ModelSeen]:
        counts = await asyncio.gather(*(self._counts(model) for model in self._rules))
        return [
            self._see(model, *count, [one for one in launched if one.model == model], now)
            for model, count in zip(self._rules, counts, strict=True)
        ]

    async def _counts(self, model: str) -> tuple[Lag | None, int | None]:
        """Jobs not finished, and how many are; None where the log does not answer."""
        try:
            bounds = await self._log.bounds(list(job_topics(model)), group=consumer_group(model))
        except LogUnavailable as error:
            logger.warning("lag_unknown", model=model, error=str(error))
            return None, None
        lags = dict.fromkeys(job_topics(model), 0)
        for partition, bound in bounds.items():
            lags[partition.topic] += bound.lag
        lag = Lag(*(lags[job_topic(model, priority)] for priority in Priority))
        return lag, sum(bound.committed for bound in bounds.values())

    def _see(
        self, model: str, lag: Lag | None, done: int | None, launched: list[Launched], now: float
    ) -> ModelSeen:
        for one in launched:
            if one.failed:
                logger.warning("consumer_died", model=model, exit_code=one.exit_code)
        works = [one for one in launched if one.works]
        look = Look(
            lag=lag,
            done=done,
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
            for one in alive[decision.consumers :]:
                await self._launcher.stop(one.id)
            for _ in range(decision.consumers - len(alive)):
                history.start(now)
                try:
                    await self._launcher.start(decision.model)
                except LaunchFailed as error:
                    history.fail(now)
                    logger.error("launch_failed", model=decision.model, error=str(error))
