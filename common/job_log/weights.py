"""Which of several topics gives the next message, so that they are drained by their weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping


class WeightedChoice:
    """Smooth weighted round-robin, as in nginx's `ngx_http_upstream_round_robin`.

    Credit is kept between calls, so the ratio holds over time however few are taken at once.
    A topic with nothing waiting earns nothing: the others share its turns.
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights = dict(weights)
        self._credit = dict.fromkeys(weights, 0)

    @property
    def topics(self) -> Collection[str]:
        """All topics among which it chooses."""
        return self._weights.keys()

    def next(self, waiting: Collection[str]) -> str:
        """The topic of `waiting` (at least one) whose turn it is; ties go to the first."""
        for topic in waiting:
            self._credit[topic] += self._weights[topic]
        chosen = max(waiting, key=self._credit.__getitem__)
        self._credit[chosen] -= sum(self._weights[topic] for topic in waiting)
        return chosen

    def take(self, waiting: Mapping[str, int], limit: int) -> list[str]:
        """The next turns, at most `limit`, where `waiting` counts each topic's messages."""
        left = {topic: count for topic, count in waiting.items() if count > 0}
        turns: list[str] = []
        while left and len(turns) < limit:
            topic = self.next(left)
            turns.append(topic)
            left[topic] -= 1
            if left[topic] == 0:
                del left[topic]
        return turns
