"""HTTP to URLs that users gave: one keep-alive client whose every connection the guard admits."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from types import MappingProxyType

import httpcore2
import httpx2

from common import head_limit
from common.errors import UrlRefused, UrlUnreachable
from common.head_limit import HeadLimit, LimitedStream
from common.url_guard import Address, Target, UrlGuard

CONNECT_SECONDS = 5.0  # for each of a host's addresses
KEEP_SECONDS = 4.0  # many servers close an idle connection after 5
MOST_ADDRESSES = 4  # of a host that are tried
MOST_REDIRECTS = 5
_RESOLVERS = 16  # names that are looked up at once
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NONE: Mapping[str, str] = MappingProxyType({})
_TROUBLE = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    OSError,
)

Resolver = Callable[[str], Awaitable[list[Address]]]  # of a name; raises OSError


class Rest(StrEnum):
    """What became of a reply's body behind what was read of it."""

    NONE = "none"  # it was read whole
    LARGER = "larger"  # than was wanted
    LATE = "late"  # it did not end in time
    BROKEN = "broken"  # the connection broke


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a user's server, as far as it was read."""

    status: int
    headers: httpx2.Headers
    body: bytes  # as sent: nothing is unpacked
    rest: Rest = Rest.NONE


class GuardedClient:
    """Follows no redirects unless told, keeps no cookies, knows no proxies, logs no URL."""

    def __init__(
        self,
        guard: UrlGuard,
        *,
        resolver: Resolver | None = None,
        connections: int = 100,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """At most `connections` are open at once; who needs one more waits within its seconds."""
        self._guard = guard
        self._lookups = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="resolver")
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context or httpcore2.default_ssl_context(),
            max_connections=connections,
            keepalive_expiry=KEEP_SECONDS,
            network_backend=_Admitting(guard, resolver or self._resolve),
        )

    async def send(
        self,
        method: str,
        url: str,
        *,
        seconds: float,
        most_bytes: int,
        content: bytes | None = None,
        headers: Mapping[str, str] = _NONE,
    ) -> Reply:
        """One request, with up to `most_bytes` of its reply's body, all in `seconds`.

        A status that came is a reply, whatever becomes of its body. Raises UrlRefused,
        UrlUnreachable.
        """
        target = self._guard.check(url)
        reply: _Reading | None = None
        limit = HeadLimit()
        head_limit.current.set(limit)
        try:
            async with (
                asyncio.timeout(seconds),
                self._pool.stream(
                    method,
                    _core_url(target),
                    headers=_raw({"Host": target.authority, **headers}),
                    content=content,
                    extensions={"timeout": {"connect": CONNECT_SECONDS}},
                ) as response,
            ):
                limit.lift()
                reply = _Reading(response, most_bytes)
                await reply.read()
        except _TROUBLE as error:
            late = isinstance(error, TimeoutError | httpcore2.TimeoutException)
            if reply is None:
                raise UrlUnreachable(_unreachable(target, error, late)) from error
            reply.rest = Rest.LATE if late else Rest.BROKEN
        return reply.told()

    async def get(self, url: str, *, seconds: float, most_bytes: int) -> Reply:
        """What is at `url`, or where it redirects to: each hop is checked like the first.

        Raises UrlRefused, UrlUnreachable.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        for _ in range(MOST_REDIRECTS + 1):
            left = max(deadline - clock(), 0.0)
            reply = await self.send("GET", url, seconds=left, most_bytes=most_bytes)
            location = reply.headers.get("location")
            if reply.status not in _REDIRECTS or location is None:
                return reply
            url = _joined(url, location)
        raise UrlRefused(f"The URL redirects more than {MOST_REDIRECTS} times: give the last one.")

    async def close(self) -> None:
        """Let go of every connection."""
        await self._pool.aclose()
        self._lookups.shutdown(wait=False, cancel_futures=True)

    async def _resolve(self, name: str) -> list[Address]:
        """By the system, in threads of its own: a slow server of names holds up nobody else."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._lookups, lambda: socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        )
        return [ip_address(entry[4][0]) for entry in found]


class _Admitting(httpcore2.AsyncNetworkBackend):
    """Connects to the very addresses that the guard admitted."""

    def __init__(self, guard: UrlGuard, resolver: Resolver) -> None:
        self._guard, self._resolver = guard, resolver
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        addresses = await self._addresses(host)
        self._guard.admit(host, port, addresses)
        failure: Exception = httpcore2.ConnectError("no address")
        for address in addresses[:MOST_ADDRESSES]:
            try:
                return LimitedStream(
                    await self._network.connect_tcp(
                        str(address), port, timeout, local_address, socket_options
                    )
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _addresses(self, host: str) -> list[Address]:
        try:
            return [ip_address(host)]
        except ValueError:
            return list(dict.fromkeys(await self._resolver(host)))


class _Reading:
    """A reply while it comes in."""

    def __init__(self, response: httpcore2.Response, most_bytes: int) -> None:
        self._response, self._most = response, most_bytes
        self._body = bytearray()
        self.rest = Rest.NONE

    async def read(self) -> None:
        async for part in self._response.aiter_stream():
            self._body += part
            if len(self._body) > self._most:
                self.rest = Rest.LARGER
                return

    def told(self) -> Reply:
        headers = httpx2.Headers(self._response.headers)
        return Reply(self._response.status, headers, bytes(self._body[: self._most]), self.rest)


def _core_url(target: Target) -> httpcore2.URL:
    return httpcore2.URL(
        scheme=target.scheme.encode(),
        host=target.host.encode(),
        port=target.port,
        target=target.path.encode(),
    )


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    own = {"User-Agent": "darkroom", "Accept": "*/*", "Accept-Encoding": "identity"}
    return [(name.encode(), value.encode()) for name, value in {**own, **headers}.items()]


def _joined(url: str, location: str) -> str:
    try:
        return str(httpx2.URL(url).join(location))
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise UrlRefused("The URL redirects to one that cannot be read: give another.") from error


def _unreachable(target: Target, error: Exception, late: bool) -> str:
    """Not the driver's own words, which name addresses; but what is wrong with a certificate."""
    if late:
        return f"{target.host} did not answer in time."
    if isinstance(error, socket.gaierror):
        return f"There is no host {target.host}."
    cause = error.args[0] if error.args else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"{target.host}: {cause.verify_message}."
    if isinstance(error, httpcore2.ProtocolError):
        return f"{target.host} does not answer as HTTP has it."
    return f"{target.host} accepts no connection, or broke it off."
