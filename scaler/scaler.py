"""The scaler: observe -> decide -> apply, again and again."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace

import psutil
import structlog

from common.errors import LauncherUnavailable, LaunchFailed, LogUnavailable
from common.job_log import JobLog
from common.scaling import ModelScaling, Rules, ScalingMode, ScalingSettings
from scaler.devices import Devices
from scaler.exposing import Exposed
from scaler.history import History
from scaler.launchers import Launched, Launcher
from scaler.lead import Lead
from scaler.live_settings import LiveSettings
from scaler.observation import Decision, Look, ModelSeen
from scaler.policy import Policy
from scaler.queues import Queue, Queues
from scaler.sharing import Memory
from scaler.telling import Telling
from scaler.workers import Workers

ROUND_SECONDS = 0.5
SPARE_MEMORY = 0.05  # of all, that no consumer is started into

logger = structlog.get_logger()


RulesOf = Callable[[str, ModelScaling], Rules]  # of a model, as it was changed while it runs


class Scaler:
    """Keeps each model at the number of consumers that the policy wants, while it leads."""

    def __init__(
        self,
        *,
        models: Collection[str],
        rules_of: RulesOf,
        log: JobLog,
        launcher: Launcher,
        policy: Policy,
        devices: Devices | None = None,
        exposed: Exposed | None = None,
    ) -> None:
        """Without `devices` consumers are not told which to use."""
        self._models = models
        self._rules_of = rules_of
        self._queues = Queues(log, models)
        self._launcher = launcher
        self._policy = policy
        self._devices = devices or Devices()
        self._workers = Workers(log)
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._exposed = exposed or Exposed()
        self._exposed.follow(self._workers.latest)
        self._lead = Lead(log, name)
        self._live = LiveSettings(log, name)
        self._telling = Telling(log, name)
        self._histories: dict[str, History] = {}
        self._leads = False
        self._letting_go: asyncio.Task[None] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; then every consumer is stopped and waited for."""
        clock = asyncio.get_running_loop().time
        self._workers.start()
        self._telling.start()
        self._live.start()
        self._lead.start()
        try:
            while not stop.is_set():
                try:
                    await self._turn(clock())
                except (LauncherUnavailable, LogUnavailable) as error:
                    # Unknown is never zero: nothing changes.
                    logger.error("round_passed_over", error=str(error))
                    self._exposed.saw_nothing(log=not isinstance(error, LogUnavailable))
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), ROUND_SECONDS)
        finally:
            await self._lead.close()
            if self._letting_go is not None:
                await self._letting_go
            await self._launcher.close()
            await self._telling.close()
            await self._live.close()
            await self._workers.close()

    async def _turn(self, now: float) -> None:
        """A round, if it leads. Whoever lost the lead to another lets go of its consumers."""
        if await self._lead.held():
            if not self._leads:
                logger.info("leads")
                self._leads = True
                self._exposed.set_leader(True)
            await self._round(now)
        elif self._leads and self._lead.lost:
            logger.warning("lead_lost")
            self._leads = False
            self._exposed.set_leader(False)
            self._histories.clear()
            self._letting_go = asyncio.create_task(self._launcher.let_go())

    async def _round(self, now: float) -> None:
        live = self._live.now
        if live is None:  # what is paused is not known
            return
        launched = await self._launcher.running()
        seen = await self._observe(launched, live, now)
        decisions = self._policy.decide(seen, now, _memory())
        if not await self._lead.held():  # this process may have stood still while it looked
            return
        self._exposed.saw(seen, decisions, now)
        applied = live.mode is not ScalingMode.DRY_RUN
        for model, decision in zip(seen, decisions, strict=True):
            self._histories[model.model].decided(decision, now)
            news = self._telling.decided(decision, model.consumers, applied=applied)
            if applied:
                if news:
                    self._exposed.changed(decision, model.consumers)
                await self._apply(decision, launched, now)

    async def _observe(
        self, launched: list[Launched], live: ScalingSettings, now: float
    ) -> list[ModelSeen]:
        by_model: dict[str, list[Launched]] = {model: [] for model in self._models}
        for one in launched:
            by_model[one.model].append(one)
        queues = await self._queues.look(now)
        found = []
        for model, theirs in by_model.items():
            changed = live.models.get(model, ModelScaling())
            look = self._look(model, queues[model], theirs)
            if model not in self._histories:
                self._histories[model] = History(model, now)
            seen = self._histories[model].see(look, self._rules_of(model, changed), now)
            paused = changed.paused or live.mode is ScalingMode.PAUSED
            found.append(replace(seen, paused=paused))
        return found

    def _look(self, model: str, queue: Queue, launched: list[Launched]) -> Look:
        for one in launched:
            if one.failed:
                logger.warning(
                    "consumer_died",
                    model=model,
                    worker=one.id,
                    exit_code=one.exit_code,
                    output=one.output,
                )
                self._exposed.failed(model)
        alive = {one.id: self._workers.is_ready(one.id) for one in launched if one.works}
        return Look(
            lag=queue.lag,
            done=queue.done,
            consumers=len(alive),
            ready=sum(alive.values()),
            stopping=sum(one.stopping and one.exit_code is None for one in launched),
            failed=sum(one.failed for one in launched),
            seconds_per_job=self._workers.seconds_per_job(model),
            cold_start=self._workers.cold_start(model),
            moved=self._workers.moved(model),
            memory=self._workers.memory(model),
            alive=alive,
        )

    async def _apply(self, decision: Decision, launched: list[Launched], now: float) -> None:
        history = self._histories[decision.model]
        alive = [one for one in launched if one.model == decision.model and one.works]
        for one in sorted(alive, key=self._use)[: max(len(alive) - decision.consumers, 0)]:
            await self._launcher.stop(one.id)
        for _ in range(decision.consumers - len(alive)):
            try:
                device = self._devices.choose(decision.model, launched)
                started = await self._launcher.start(decision.model, device)
            except LaunchFailed as error:
                history.fail(now)
                self._exposed.failed(decision.model)
                logger.error("launch_failed", model=decision.model, error=str(error))
                return  # the others would fail of the same
            history.start(started.id, now)
            launched.append(started)

    def _use(self, one: Launched) -> tuple[bool, bool]:
        """The least useful first: those that load, and then those that were idle."""
        return self._workers.is_ready(one.id), self._workers.is_busy(one.id)


def _memory() -> Memory:
    """Of this machine, less what it needs itself."""
    memory = psutil.virtual_memory()
    return Memory(memory.available - SPARE_MEMORY * memory.total, memory.total)
