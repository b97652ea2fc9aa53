"""The scaler: observe -> decide -> apply, again and again."""

from __future__ import annotations

import asyncio

import structlog

from common.catalogue import Catalogue, ModelSpec
from common.errors import LaunchFailed, LogUnavailable
from common.job_log import Bounds, JobLog, TopicPartition
from common.topic import consumer_group, job_topics
from scaler.history import History
from scaler.launchers import Launched, Launcher
from scaler.policy import Decision, ModelSeen, Policy

ROUND_SECONDS = 0.5

logger = structlog.get_logger()


class Scaler:
    """Keeps each model of the catalogue at the number of consumers that the policy wants."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        log: JobLog,
        launcher: Launcher,
        policy: Policy,
        idle_seconds: float,
    ) -> None:
        self._models = list(catalogue)
        self._log = log
        self._launcher = launcher
        self._policy = policy
        self._idle_seconds = idle_seconds
        self._history: dict[str, History] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; then every consumer is stopped and waited for."""
        clock = asyncio.get_running_loop().time
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

    async def _observe(self, launched: list[Launched], now: float) -> list[ModelSeen]:
        counts = await asyncio.gather(*(self._counts(model.name) for model in self._models))
        return [
            self._see(model, *count, [one for one in launched if one.model == model.name], now)
            for model, count in zip(self._models, counts, strict=True)
        ]

    async def _counts(self, model: str) -> tuple[int | None, int | None]:
        """Jobs not finished, and those that are; None where the log does not answer."""
        try:
            bounds: dict[TopicPartition, Bounds] = await self._log.bounds(
                list(job_topics(model)), group=consumer_group(model)
            )
        except LogUnavailable as error:
            logger.warning("lag_unknown", model=model, error=str(error))
            return None, None
        return sum(b.lag for b in bounds.values()), sum(b.committed for b in bounds.values())

    def _see(
        self,
        model: ModelSpec,
        lag: int | None,
        done: int | None,
        launched: list[Launched],
        now: float,
    ) -> ModelSeen:
        history = self._history.setdefault(model.name, History(idle_since=now))
        history.look(lag, launched, now, done)
        for one in launched:
            if one.failed:
                logger.warning("consumer_died", model=model.name, exit_code=one.exit_code)
        return ModelSeen(
            model=model.name,
            lag=lag,
            consumers=sum(one.works for one in launched),
            minimum=model.min,
            idle_after=self._idle_seconds if model.idle is None else model.idle,
            idle_since=history.idle_since,
            failures=history.failures,
            failed_at=history.failed_at,
        )

    async def _apply(self, decisions: list[Decision], launched: list[Launched], now: float) -> None:
        for decision in decisions:
            history = self._history[decision.model]
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
