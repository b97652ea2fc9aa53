"""The requests that the load is mixed from."""

from __future__ import annotations

import json
import random
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.pictures import plain_png

KINDS = ("plain", "image", "keyed", "put", "long")
ECHO = "darkroom/echo"
SHAPES = "darkroom/shapes"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request for a job, ready to be sent; again too, if that can make no second job."""

    request: str  # its name
    method: str = "POST"
    path: str = "/v1/predictions"
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any]  # arguments of the client
    model: str
    expected: str | None
    webhook: bool
    key: str | None = None
    repeatable: bool = False


class Asking:
    """Draws requests by chance, of these kinds and models: `plain` has a prompt, `image` a picture,
    `keyed` an Idempotency-Key, `put` an id of its own, `long` a text that is stored.
    `webhook`: a URL, for about half of them. `delay`: seconds that an echo takes.
    """

    def __init__(
        self,
        *,
        kinds: tuple[str, ...] = KINDS,
        models: tuple[str, ...] = (ECHO,),
        priorities: tuple[str, ...] = ("normal",),
        webhook: str | None = None,
        delay: float = 0.0,
        seed: int | None = None,
    ) -> None:
        self._kinds, self._models, self._priorities = kinds, models, priorities
        self._webhook, self._delay = webhook, delay
        self._chance = random.Random(seed)
        self._pictures = {width: plain_png(width) for width in range(16, 80)}

    def next(self) -> Ask:
        request = uuid.uuid4().hex
        model, kind = self._chance.choice(self._models), self._chance.choice(self._kinds)
        told = self._webhook is not None and self._chance.random() < 0.5
        fields: dict[str, Any] = {"model": model, "priority": self._chance.choice(self._priorities)}
        if told:
            fields["webhook"] = self._webhook
        metadata = {"request": request}
        key, method, path, headers = None, "POST", "/v1/predictions", {}
        if kind == "keyed":
            key = headers["Idempotency-Key"] = f"key-{request}"
        elif kind == "put":
            method, path = "PUT", f"{path}/{uuid.UUID(request)}"
        if kind == "image" or model == SHAPES:
            width = self._chance.choice(list(self._pictures))
            expected = f"{width}x16 PNG" if model != SHAPES else None
            asked = {**fields, "metadata": json.dumps(metadata)}
            if model != SHAPES and self._delay:
                asked["delay"] = str(self._delay)
            body: dict[str, Any] = {"data": asked, "files": {"image": self._pictures[width]}}
        else:
            expected = f"said {request}"
            if kind == "long":  # more than travels in an event: it becomes a file
                expected += "." * 20_000
            told_to = {"prompt": expected, "delay": self._delay}
            body = {"json": {**fields, "metadata": metadata, "input": told_to}}
        return Ask(
            request=request,
            method=method,
            path=path,
            headers=headers,
            body=body,
            model=model,
            expected=expected,
            webhook=told,
            key=key,
            repeatable=kind in ("keyed", "put"),
        )
