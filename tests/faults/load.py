"""A steady, bounded load of clients that write down what they were promised."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence

import httpx2

from tests.faults.asking import Ask, Asking
from tests.faults.journal import Journal

REPLY_SECONDS = 20.0
AGAIN_SECONDS = 0.2  # before a request that may be repeated is
LOOK_AFTER = 6  # watched jobs that a client makes before it looks at the first of them
GIVE_UP_SECONDS = 60.0  # after which it is not sent any more


class Load:
    """Sends `rate` requests a second in all, at most, from `clients` threads; a context manager.

    A client sends its next request when the one before was answered, written down, or given up. A
    reply that was lost is asked for again where the request is `repeatable`; others are sent once.
    """

    def __init__(
        self,
        urls: Sequence[str],
        journal: Journal,
        asking: Asking,
        *,
        rate: float = 20.0,
        clients: int = 4,
        cancel: float = 0.0,
        watch: float = 0.1,
    ) -> None:
        """`cancel`: the part of jobs that are canceled; `watch`: of those looked at afterwards."""
        self.counts: Counter[str] = Counter()
        self.unexpected: list[str] = []  # replies that no fault explains
        self._urls, self._journal, self._asking = urls, journal, asking
        self._pause, self._cancel, self._watch = clients / rate, cancel, watch
        self._lock = threading.Lock()
        self._enough = threading.Event()
        self._threads = [
            threading.Thread(target=self._client, args=(number,)) for number in range(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send nothing new, and wait until what is under way was answered or given up."""
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _client(self, number: int) -> None:
        seen_later: list[str] = []
        with httpx2.Client(timeout=REPLY_SECONDS, trust_env=False) as client:
            while not self._enough.is_set():
                began = time.monotonic()
                number += 1
                url = self._urls[number % len(self._urls)]
                with self._lock:
                    ask = self._asking.next()
                id = self._made(client, ask, number)
                if id is not None:
                    if random.random() < self._cancel:
                        self._quietly(client, "POST", f"{url}/v1/predictions/{id}/cancel")
                    if random.random() < self._watch:
                        seen_later.append(id)
                if len(seen_later) > LOOK_AFTER:
                    self._look(client, url, seen_later.pop(0))
                self._enough.wait(max(began + self._pause - time.monotonic(), 0.0))

    def _made(self, client: httpx2.Client, ask: Ask, number: int) -> str | None:
        """The job's id, once it is in the journal. None: nothing was promised."""
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while True:
            id = self._send(client, ask, self._urls[number % len(self._urls)])
            if id is not None or not ask.repeatable or time.monotonic() > give_up:
                return id
            number += 1  # the next process may be there
            self.counts["sent again"] += 1
            time.sleep(AGAIN_SECONDS)

    def _send(self, client: httpx2.Client, ask: Ask, url: str) -> str | None:
        try:
            reply = client.request(ask.method, url + ask.path, headers=ask.headers, **ask.body)
        except httpx2.TransportError as error:
            self.counts[type(error).__name__] += 1
            return None
        self.counts[str(reply.status_code)] += 1
        if reply.status_code in (201, 202):
            id: str = reply.json()["id"]
            self._journal.accepted(
                id,
                request=ask.request,
                model=ask.model,
                expected=ask.expected,
                webhook=ask.webhook,
                key=ask.key,
            )
            self.counts["replayed"] += reply.headers.get("idempotent-replayed") == "true"
            return id
        if reply.status_code not in (409, 429, 502, 503, 504):
            self.unexpected.append(f"{ask.method} {ask.path}: {reply.status_code} {reply.text}")
        return None

    def _look(self, client: httpx2.Client, url: str, id: str) -> None:
        """What a client sees of a job is written down if it has ended."""
        reply = self._quietly(client, "GET", f"{url}/v1/predictions/{id}")
        if reply is None or reply.status_code >= 500:
            return
        if reply.status_code != 200:
            self.unexpected.append(f"GET {id}: {reply.status_code} {reply.text}")
            return
        job = reply.json()
        if job["completed_at"] is not None:
            self._journal.seen(
                id,
                status=job["status"],
                output=job["output"],
                completed_at=job["completed_at"],
            )

    def _quietly(self, client: httpx2.Client, method: str, url: str) -> httpx2.Response | None:
        try:
            return client.request(method, url)
        except httpx2.TransportError:
            return None
