"""Darkroom's HTTP API as the commands use it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from types import TracebackType
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec
import stamina

from cli.errors import ItemFailed, NotAllowed, ServerUnavailable, UsageWrong
from common.job import JobState

PATIENCE_S = 60.0  # how long a server may be gone before a command gives up
FIRST_PATIENCE_S = 5.0  # when a command begins
FIRST_POLL_S, LONGEST_POLL_S = 0.05, 2.0
_TIMEOUT = httpx2.Timeout(30.0, connect=5.0)
_STREAM_TIMEOUT = httpx2.Timeout(45.0, connect=5.0)  # three keep-alives missed
_AWAY = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


T = TypeVar("T")


class Queue(msgspec.Struct, frozen=True):
    """Why a job waits."""

    reason: str = ""


class Prediction(msgspec.Struct, frozen=True):
    """A job as the server shows it: the part that the commands need."""

    id: str
    status: JobState
    access_link: str
    error: str | None = None
    error_code: str | None = None
    queue: Queue = Queue()


class Model(msgspec.Struct, frozen=True):
    """One entry of the server's models."""

    id: str  # OWNER/NAME
    task: str | None  # None: the server has not seen the model's files yet
    makes: str | None  # text or image; only worth something with a task


class Result(NamedTuple):
    """What lies behind an access link."""

    content: bytes
    content_type: str


class _Models(msgspec.Struct, frozen=True):
    results: list[Model]


class _ProblemDocument(msgspec.Struct, frozen=True):
    detail: str
    code: str = "refused"


class _TryAgain(Exception):
    """Not now. `after`: seconds that the server asks for."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class _Away(_TryAgain):
    """Nobody answers, or only a proxy, or a server without its dependencies."""


class _Busy(_TryAgain):
    """The server answers: later."""


class Client:
    """One server. Use it as a context manager; its calls may run at the same time.

    Each call waits where the server asks for it, and up to `patience` seconds for a server that
    does not answer. All raise ServerUnavailable, NotAllowed, and ItemFailed for what is refused.
    """

    def __init__(self, url: str, *, key: str | None = None, patience: float = PATIENCE_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageWrong(f"{url!r} is no address of a server: give --url http://HOST:PORT")
        self._url = url
        self._http = httpx2.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"} if key else None,
            timeout=_TIMEOUT,
            trust_env=parts.hostname not in _LOOPBACK,  # no proxy stands before this machine
        )
        self._until_it_answers = stamina.AsyncRetryingCaller(
            attempts=None, timeout=patience, wait_initial=0.2
        ).on(_pause_if_away)
        self._until_it_has_room = stamina.AsyncRetryingCaller(
            attempts=None, timeout=None, wait_initial=1.0, wait_max=30.0
        ).on(_pause_if_busy)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def models(self) -> list[Model]:
        """The models that the server knows."""
        try:
            reply = await self._call("GET", "/v1/models")
        except ItemFailed as error:
            raise ServerUnavailable(f"{self._url} is no Darkroom server: {error}") from error
        return self._decoded(reply, _Models).results

    async def submit(self, image: bytes, fields: Mapping[str, str]) -> Prediction:
        """A new job over `image`; `fields` are model, prompt, priority. Raises UsageWrong too."""
        reply = await self._call(
            "POST",
            "/v1/predictions",
            files={"image": ("image", image, "application/octet-stream")},
            data=dict(fields),
            headers={"Idempotency-Key": uuid.uuid4().hex},  # the call may be sent twice
        )
        return self._decoded(reply, Prediction)

    async def ended(self, prediction: Prediction, *, waits: Callable[[str], None]) -> Prediction:
        """The job once it has ended; `waits` hears why it has not begun, or an empty string.

        Asks often at first, then ever less.
        """
        pause = FIRST_POLL_S
        while not prediction.status.terminal:
            await asyncio.sleep(pause)
            reply = await self._call("GET", f"/v1/predictions/{prediction.id}")
            prediction = self._decoded(reply, Prediction)
            waits(prediction.queue.reason)
            pause = _retry_after(reply) or min(pause * 1.5, LONGEST_POLL_S)
        return prediction

    async def result(self, prediction: Prediction) -> Result:
        """What the access link of a job that succeeded leads to."""
        reply = await self._call("GET", prediction.access_link, follow_redirects=True)
        kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Result(reply.content, kind)

    async def ask(self, kind: type[T], method: str, path: str, **options: object) -> T:
        """What the server answers to a call with httpx's `options`, read as `kind`."""
        return self._decoded(await self._call(method, path, **options), kind)

    async def ask_once(self, kind: type[T], path: str, *, seconds: float) -> T:
        """What the server answers to a GET now, for those who will ask again anyway.

        The message of ServerUnavailable is the reason alone.
        """
        try:
            async with asyncio.timeout(seconds):
                reply = await self._once("GET", path, {})
        except TimeoutError as error:
            raise ServerUnavailable(f"no answer within {seconds:g} s") from error
        except _TryAgain as error:
            raise ServerUnavailable(str(error)) from error
        return self._decoded(reply, kind)

    def open_stream(self, path: str, last: str) -> AbstractAsyncContextManager[httpx2.Response]:
        """The reply to a request for events, after the one with the id `last`, if there was one."""
        headers = {"Last-Event-ID": last} if last else {}
        return self._http.stream("GET", path, headers=headers, timeout=_STREAM_TIMEOUT)

    @staticmethod
    def refusal(reply: httpx2.Response) -> Exception:
        """The error that a reply means which is no success, once its body was read."""
        return _refusal(reply)

    async def cancel(self, id: str) -> None:
        """Ask once to stop the job."""
        await self._http.post(f"/v1/predictions/{id}/cancel")

    async def delete(self, path: str) -> None:
        """Remove what is there."""
        await self._call("DELETE", path)

    async def _call(self, method: str, path: str, **options: object) -> httpx2.Response:
        try:
            return await self._until_it_has_room(
                self._until_it_answers, self._once, method, path, options
            )
        except _Away as error:
            raise ServerUnavailable(
                f"{self._url} does not answer ({error}): start it with `make run`, "
                "or give its address with --url"
            ) from error

    def _decoded(self, reply: httpx2.Response, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(reply.content or b"null", type=kind)
        except msgspec.DecodeError as error:
            raise ServerUnavailable(f"{self._url} is no Darkroom server: {error}") from error

    async def _once(self, method: str, path: str, options: Mapping[str, object]) -> httpx2.Response:
        try:
            reply = await self._http.request(method, path, **options)  # type: ignore[arg-type]
        except httpx2.TransportError as error:
            raise _Away(str(error) or type(error).__name__) from error
        if reply.is_success:
            return reply
        raise _refusal(reply)


async def models_of(url: str, *, key: str | None = None) -> list[Model]:
    """What the server at `url` knows; for a command's beginning. Raises as Client does."""
    async with Client(url, key=key, patience=FIRST_PATIENCE_S) as client:
        return await client.models()


def _refusal(reply: httpx2.Response) -> Exception:
    """The error that a reply means."""
    detail, code = _problem(reply)
    after = _retry_after(reply)
    if reply.status_code in _AWAY:
        return _Away(detail, after)
    if reply.status_code == HTTPStatus.TOO_MANY_REQUESTS or (
        reply.status_code == HTTPStatus.CONFLICT and after is not None
    ):
        return _Busy(detail, after)
    if reply.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return NotAllowed(detail)
    if code == "unknown_model":
        return UsageWrong(detail)
    return ItemFailed(detail, code)


def _problem(reply: httpx2.Response) -> tuple[str, str]:
    """Detail and code of a problem document, or what can be said of another reply."""
    try:
        problem = msgspec.json.decode(reply.content, type=_ProblemDocument)
    except msgspec.DecodeError:
        return f"HTTP {reply.status_code} {reply.reason_phrase}", f"http_{reply.status_code}"
    return problem.detail, problem.code


def _retry_after(reply: httpx2.Response) -> float | None:
    value = reply.headers.get("retry-after", "")
    return float(value) if value.isdecimal() else None


def _pause_if_away(error: Exception) -> bool | float:
    return isinstance(error, _Away) and (error.after or True)


def _pause_if_busy(error: Exception) -> bool | float:
    return isinstance(error, _Busy) and (error.after or True)
