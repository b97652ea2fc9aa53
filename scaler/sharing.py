"""Who gets the slots when there are fewer than the models want. Pure.

- What a model has it keeps, and minimums come first. Free slots go to models without a consumer:
  those that have waited for their patience by age, then those with high priority work, then by age
  again. What is left goes where the drain time is longest against its target.
- Who wants more takes an idle model's slot, the longest idle first, if that idled for as long as
  it takes to load it again, or if the work pays: it takes longer than the switch.
- A model without a consumer takes, after its patience, any idle one's slot, or a busy one's: of
  the model that has the most, else of the one that has served for longest, if that was a turn. The
  patience doubles with each failure: a broken model seldom stops the work of others.

So whoever has a slot keeps it for a turn at most while others wait: a model with W patient ones
before it, and N slots that are not kept by minimums, has its consumer started after at most its
patience + (W // N + 1) turns, beyond the jobs that have to end first.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from scaler.observation import Decision, Lag, ModelSeen

PATIENCE = 60.0  # seconds that work of a model without a consumer waits before it takes a slot
LONGEST_PATIENCE = 32.0  # in patiences, of a model whose consumers die
TURN = 120.0  # seconds that a model serves, at least, before it has to give its only slot

GIB = 2**30


class Memory(NamedTuple):
    """Bytes of this machine."""

    free: float
    total: float


UNLIMITED = Memory(math.inf, math.inf)


def _turn(model: ModelSeen) -> float:
    """Seconds that it may serve: worth its loading, and enough for jobs to end."""
    return max(TURN, 4 * model.cold_start, model.cold_start + 2 * (model.seconds_per_job or 0.0))


def share(
    seen: Sequence[ModelSeen],
    wanted: Sequence[Decision],
    slots: int,
    now: float,
    memory: Memory = UNLIMITED,
) -> list[Decision]:
    """The decisions with at most `slots` consumers in all. One a model, in the order given.

    None is started for which there is no memory. One of a model that was never measured is.
    """
    models = {model.model: model for model in seen}
    given = {one.model: min(one.consumers, models[one.model].consumers) for one in wanted}
    reasons = {one.model: one.reason for one in wanted}
    # Slots of consumers that stop are free soon, but not yet.
    held = sum(model.consumers + model.stopping for model in seen)
    room = _room(seen, memory)
    unmet, crowded = _grant(models, wanted, given, max(slots - held, 0), room, now)
    for name in crowded:
        reasons[name] = f"{_shortage(models[name], room)}: {reasons[name]}"
    claims = sorted(
        (models[name] for name in unmet if _could_fit(models[name], seen, room)),
        key=lambda m: _rank(m, given[m.model], now),
    )
    ending = sum(model.stopping for model in seen)
    soon = ending if crowded else max(slots - sum(given.values()), 0)  # with what is ending
    for claim in claims[soon:]:
        giver = _giver(claim, models.values(), given, now)
        if giver is not None:
            given[giver.model] -= 1
            reasons[giver.model] = f"{claim.model} waits for a slot, and all {slots} are taken"
    for name in set(unmet) - set(crowded):
        reasons[name] = f"all {slots} slots are taken (DARKROOM_SLOTS): {reasons[name]}"
    return [replace(one, consumers=given[one.model], reason=reasons[one.model]) for one in wanted]


def _grant(
    models: dict[str, ModelSeen],
    wanted: Sequence[Decision],
    given: dict[str, int],
    free: int,
    room: Memory,
    now: float,
) -> tuple[list[str], list[str]]:
    """Hand out the free slots one by one.

    The models that want more than they got, and those among them that there is no memory for.
    """
    crowded: list[str] = []
    left = room.free
    wants = {one.model: one.consumers for one in wanted if one.consumers > given[one.model]}
    heap = [(_rank(models[name], given[name], now), name) for name in wants]
    heapq.heapify(heap)
    while heap and free:
        _, name = heapq.heappop(heap)
        if (need := models[name].memory) and need > left:
            crowded.append(name)
            patient = given[name] == 0 and _is_patient(models[name], now)
            if patient and _could_fit(models[name], models.values(), room):
                left = min(left, 0.0)  # nobody behind it takes what it waits for
            continue
        given[name] += 1
        left -= need
        free -= 1
        if given[name] < wants[name]:
            heapq.heappush(heap, (_rank(models[name], given[name], now), name))
    return [name for name in wants if given[name] < wants[name]], crowded


def _room(seen: Sequence[ModelSeen], memory: Memory) -> Memory:
    """What those that load do not need yet is not free."""
    loading = sum((model.consumers - model.ready) * model.memory for model in seen)
    return Memory(memory.free - loading, memory.total)


def _could_fit(model: ModelSeen, models: Iterable[ModelSeen], room: Memory) -> bool:
    """Whether there is memory for it once the others have given what they may."""
    others = sum(
        (max(other.consumers - other.rules.minimum, 0) + other.stopping) * other.memory
        for other in models
        if other.model != model.model
    )
    return model.memory <= room.free + others


def _shortage(model: ModelSeen, room: Memory) -> str:
    needs = f"it needs {model.memory / GIB:.1f} GiB of memory"
    if model.memory > room.total:
        return f"{needs}, and this machine has {room.total / GIB:.1f}"
    return f"{needs}, and {max(room.free, 0) / GIB:.1f} are free"


def _rank(model: ModelSeen, consumers: int, now: float) -> tuple[bool, bool, bool, bool, float]:
    """The lowest gets the next slot."""
    enough = consumers >= model.rules.minimum
    low = not (model.lag and model.lag.high)
    if consumers == 0:
        patient = _is_patient(model, now)
        return enough, False, not patient, low and not patient, model.unserved_since
    jobs = model.lag.jobs if model.lag else 0
    drain = jobs * (model.seconds_per_job or 1.0) / consumers
    return enough, True, True, low, -drain / model.rules.target


def _is_patient(model: ModelSeen, now: float) -> bool:
    since = max(model.unserved_since, model.failed_at if model.failures else 0.0)
    return now - since >= PATIENCE * min(2.0**model.failures, LONGEST_PATIENCE)


def _giver(
    claim: ModelSeen, models: Iterable[ModelSeen], given: dict[str, int], now: float
) -> ModelSeen | None:
    """The model that gives one of its slots to `claim`, if any has to."""
    jobs = claim.lag.jobs if claim.lag else 0
    pays = jobs * (claim.seconds_per_job or 0.0) >= claim.cold_start > 0
    has_waited = given[claim.model] == 0 and _is_patient(claim, now)
    may = [
        model
        for model in models
        if model.model != claim.model
        and model.lag is not None  # unknown changes nothing
        and given[model.model] > model.rules.minimum
    ]
    idle = [
        model
        for model in may
        if model.lag == Lag() and (pays or has_waited or now - model.idle_since >= model.cold_start)
    ]
    if idle:
        return min(idle, key=lambda model: model.idle_since)
    if not has_waited:
        return None
    most = max(may, key=lambda model: given[model.model], default=None)
    if most is not None and given[most.model] > 1:
        return most
    served = [model for model in may if now - model.served_since >= _turn(model)]
    return min(served, key=lambda model: model.served_since, default=None)
