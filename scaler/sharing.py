"""Who gets the slots when there are fewer than the models want. Pure.

- A model's minimum and what it has come first; free slots go where the drain time is longest
  against its target, and before all to models that have no consumer.
- A model without a consumer takes an idle one's slot, the longest idle first. One that idled for
  less than its own cold start is thrown out only for work that pays (it takes longer than the
  switch) or that has waited for its patience.
- After its patience it takes a busy one's: of the model that has the most, else of the one that
  has served for the longest, if that was a turn at least. Whoever has a slot thus keeps it for a
  turn at most while others wait: a model with W others before it and N slots has its consumer
  started after at most its patience + (W // N + 1) turns, beyond the jobs that have to end first.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import replace

from scaler.observation import Decision, ModelSeen

PATIENCE = 60.0  # seconds that work of a model without a consumer waits before it takes a slot
TURN = 120.0  # seconds, or four cold starts of the model that gives way if that is longer


def share(
    seen: Sequence[ModelSeen], wanted: Sequence[Decision], slots: int, now: float
) -> list[Decision]:
    """The decisions with at most `slots` consumers in all. One a model, in the order given."""
    models = {model.model: model for model in seen}
    given = {one.model: min(one.consumers, models[one.model].consumers) for one in wanted}
    reasons = {one.model: one.reason for one in wanted}
    used = sum(given.values())
    # Slots of consumers that stop are free soon, but not yet.
    free = slots - used - sum(model.stopping + _giving(model, given) for model in seen)
    unmet = _grant(models, wanted, given, max(free, 0))
    claims = sorted(
        (models[name] for name in unmet if given[name] == 0),
        key=lambda model: (not (model.lag and model.lag.high), model.unserved_since),
    )
    soon = slots - sum(given.values())  # with what is ending already
    for claim in claims[max(soon, 0) :]:
        giver = _giver(claim, models.values(), given, now)
        if giver is None:
            break
        given[giver.model] -= 1
        reasons[giver.model] = f"{claim.model} waits for a slot, and all {slots} are taken"
    for name in unmet:
        reasons[name] = f"all {slots} slots are taken (DARKROOM_SLOTS): {reasons[name]}"
    return [replace(one, consumers=given[one.model], reason=reasons[one.model]) for one in wanted]


def _giving(model: ModelSeen, given: dict[str, int]) -> int:
    """Consumers that are told to stop in this round."""
    return model.consumers - given[model.model]


def _grant(
    models: dict[str, ModelSeen], wanted: Sequence[Decision], given: dict[str, int], free: int
) -> list[str]:
    """Hand out the free slots one by one; the models that want more than they got."""
    wants = {one.model: one.consumers for one in wanted if one.consumers > given[one.model]}
    heap = [(_rank(models[name], given[name]), name) for name in wants]
    heapq.heapify(heap)
    while heap and free:
        _, name = heapq.heappop(heap)
        given[name] += 1
        free -= 1
        if given[name] < wants[name]:
            heapq.heappush(heap, (_rank(models[name], given[name]), name))
    return [name for name in wants if given[name] < wants[name]]


def _rank(model: ModelSeen, consumers: int) -> tuple[bool, bool, float]:
    """The lowest gets the next slot."""
    lag = model.lag
    if consumers == 0 or lag is None:
        return False, not (lag and lag.high), model.unserved_since
    drain = lag.jobs * (model.seconds_per_job or 1.0) / consumers
    return True, not lag.high, -drain / model.rules.target


def _giver(
    claim: ModelSeen, models: Iterable[ModelSeen], given: dict[str, int], now: float
) -> ModelSeen | None:
    """The model that gives one of its slots to `claim`, if any has to."""
    waited = now - claim.unserved_since
    jobs = claim.lag.jobs if claim.lag else 0
    pays = jobs * (claim.seconds_per_job or 0.0) >= claim.cold_start > 0
    may = [model for model in models if given[model.model] > model.rules.minimum]
    idle = [
        model
        for model in may
        if model.lag is not None
        and model.lag.jobs == 0
        and (pays or waited >= PATIENCE or now - model.idle_since >= model.cold_start)
    ]
    if idle:
        return min(idle, key=lambda model: model.idle_since)
    if waited < PATIENCE:
        return None
    most = max(may, key=lambda model: given[model.model], default=None)
    if most is not None and given[most.model] > 1:
        return most
    served = [m for m in may if now - m.served_since >= max(TURN, 4 * m.cold_start)]
    return min(served, key=lambda model: model.served_since, default=None)
