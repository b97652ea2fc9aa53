"""HTTP to URLs that users gave: one keep-alive client whose every connection the guard admits."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from types import MappingProxyType

import aiohttp
import httpx2
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from common.errors import UrlRefused, UrlUnreachable
from common.reply_limit import HEAD_BYTES, LimitedConnector
from common.url_guard import Address, Target, UrlGuard

CONNECT_SECONDS = 5.0
KEEP_SECONDS = 4.0  # many servers close an idle connection after 5
MOST_ADDRESSES = 4  # of a host that are tried
MOST_REDIRECTS = 5
_RESOLVERS = 16  # names that are looked up at once
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NONE: Mapping[str, str] = MappingProxyType({})
_OWN = {"User-Agent": "darkroom", "Accept": "*/*", "Accept-Encoding": "identity"}

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
    headers: Mapping[str, str]  # whose names are found in any case
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
        connector = LimitedConnector(
            resolver=_Admitting(guard, resolver or self._resolve),
            use_dns_cache=False,
            ssl=ssl_context or True,
            limit=connections,
            keepalive_timeout=KEEP_SECONDS,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=_OWN,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            max_line_size=HEAD_BYTES,
            max_field_size=HEAD_BYTES,
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
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.request(
                    method,
                    URL(target.url, encoded=True),
                    headers=headers,
                    data=content,
                    allow_redirects=False,
                ) as response,
            ):
                reply = _Reading(response, most_bytes)
                await reply.read()
        except (aiohttp.ClientError, OSError) as error:
            late = isinstance(error, TimeoutError)
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
        await self._session.close()
        self._lookups.shutdown(wait=False, cancel_futures=True)

    async def _resolve(self, name: str) -> list[Address]:
        """By the system, in threads of its own: a slow server of names holds up nobody else."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._lookups, lambda: socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        )
        return [ip_address(entry[4][0]) for entry in found]


class _Admitting(AbstractResolver):
    """Finds the very addresses that the guard admitted. (An address in a URL it admits before.)"""

    def __init__(self, guard: UrlGuard, resolver: Resolver) -> None:
        self._guard, self._resolver = guard, resolver

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002  all are found
    ) -> list[ResolveResult]:
        addresses = list(dict.fromkeys(await self._resolver(host)))
        self._guard.admit(host, port, addresses)
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses[:MOST_ADDRESSES]
        ]

    async def close(self) -> None:
        """There is nothing to let go of."""


class _Reading:
    """A reply while it comes in."""

    def __init__(self, response: aiohttp.ClientResponse, most_bytes: int) -> None:
        self._response, self._most = response, most_bytes
        self._body = bytearray()
        self.rest = Rest.NONE

    async def read(self) -> None:
        async for part in self._response.content.iter_any():
            self._body += part
            if len(self._body) > self._most:
                self.rest = Rest.LARGER
                return

    def told(self) -> Reply:
        response = self._response
        return Reply(response.status, response.headers, bytes(self._body[: self._most]), self.rest)


def _joined(url: str, location: str) -> str:
    try:
        return str(httpx2.URL(url).join(location))
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise UrlRefused("The URL redirects to one that cannot be read: give another.") from error


def _unreachable(target: Target, error: Exception, late: bool) -> str:
    """Not the driver's own words, which name addresses; but what is wrong with a certificate."""
    if late:
        return f"{target.host} did not answer in time."
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"There is no host {target.host}."
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        return f"{target.host}: {getattr(cause, 'verify_message', cause)}."
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{target.host} does not answer as HTTP has it."
    return f"{target.host} accepts no connection, or broke it off."
