"""Which URLs that users give are connected to: those whose host has none but public addresses.

`UrlGuard.check` judges the text of a URL, without asking anyone. What a name means is judged when
it is connected to (guarded_client.py): between a check and a connection a name may change its mind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import httpx2

from common.errors import SettingsInvalid, UrlRefused

MOST_CHARACTERS = 4096  # of a URL; a signed one has up to about 2,000
PORTS = {"http": 80, "https": 443}

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IANA's registry of special addresses. Not ipaddress.is_global: its lists depend on Python's
# patch release, and before 3.11.10 some addresses of cloud providers' metadata count as global.
_SPECIAL = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host, as each of its virtual machines sees it
        "169.254.0.0/16",  # link-local, with most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, with broadcast
        "2001::/23",  # Teredo and other protocols' own
        "2001:db8::/32",
        "2002::/16",  # 6to4 is judged by the address inside it
        "3fff::/20",
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")  # all unicast that is routed
_NAT64 = IPv6Network("64:ff9b::/96")
_LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")
_NUMBER = re.compile(r"(\d+|0x[0-9a-f]*)\Z")  # a last label of an address in a spelling of old
_AUTHORITY = re.compile(r"[a-z]+://([^/?#]*)", re.IGNORECASE)

_ALLOW = "an administrator can allow it in DARKROOM_URL_ALLOWLIST"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL that passed the check leads."""

    scheme: str
    host: str  # a name in lower case and ASCII, or an address without brackets
    port: int
    path: str  # with the query

    @property
    def address(self) -> Address | None:
        """The host, where it is no name."""
        return _address(self.host)

    @property
    def authority(self) -> str:
        """The host as a request's header names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """What is connected to, spelled in one way; without a fragment."""
        return f"{self.scheme}://{self.authority}{self.path}"


class UrlGuard:
    """Judges URLs. What `allowlist` names is trusted: its addresses and ports are not judged."""

    def __init__(self, allowlist: str = "", *, loopback: bool = False) -> None:
        """`allowlist` holds hosts, addresses and networks (10.0.0.0/8), separated by commas.

        `loopback` allows localhost and its addresses, by these names alone. Raises SettingsInvalid.
        """
        self._hosts: set[str] = {"localhost"} if loopback else set()
        self._networks: list[Network] = []
        self._loopback = loopback
        for entry in filter(None, (part.strip() for part in allowlist.split(","))):
            self._trust(entry)

    def check(self, url: str) -> Target:
        """Where `url` leads, if its text is in order. Raises UrlRefused."""
        target = _read(url)
        address = target.address
        if address is not None:
            self.admit(target.host, target.port, [address])
        elif target.host.endswith(".localhost") or target.host == "localhost":
            self._check_localhost(target)
        elif target.host not in self._hosts and not self._networks:
            _check_port(target.port)
        return target

    def admit(self, host: str, port: int, addresses: Sequence[Address]) -> None:
        """Let a connection go to any of `addresses`, which `host` means. Raises UrlRefused."""
        if host in self._hosts:
            return
        for address in addresses:
            if self._trusted(host, address):
                continue
            if not is_public(address):
                raise UrlRefused(
                    f"{host} has an address that is not public: give a URL that the internet can "
                    f"reach, or {_ALLOW}."
                )
            _check_port(port)

    def _trust(self, entry: str) -> None:
        try:
            self._networks.append(ip_network(entry.strip("[]")))
            return
        except ValueError:
            name = _encoded(entry)
        if not _NAME.fullmatch(name) or _NUMBER.search(name):
            raise SettingsInvalid(
                f"DARKROOM_URL_ALLOWLIST: {entry!r} is no host, address or network such as "
                "images.example.org, 192.168.1.7 or 10.0.0.0/8, without scheme and port"
            )
        self._hosts.add(name)

    def _trusted(self, host: str, address: Address) -> bool:
        """Loopback is so only where the URL itself says it: other names may be anyone's."""
        inner = unwrapped(address)
        if self._loopback and _address(host) and any(inner in network for network in _LOOPBACK):
            return True
        return any(inner in network or address in network for network in self._networks)

    def _check_localhost(self, target: Target) -> None:
        addresses: list[Address] = [IPv4Address("127.0.0.1")]
        self.admit(target.host, target.port, addresses)


def is_public(address: Address) -> bool:
    """Whether it is an address of the internet, of one machine, behind whatever wrapping."""
    address = unwrapped(address)
    if isinstance(address, IPv6Address) and address not in _GLOBAL_V6:
        return False
    return not any(address in network for network in _SPECIAL)


def unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv4-mapped, NAT64 or 6to4 one; any other as it is."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


@lru_cache(maxsize=256)  # many webhooks go to one receiver
def _read(url: str) -> Target:
    """By the very parser that the connection goes by. Raises UrlRefused."""
    if len(url) > MOST_CHARACTERS:
        raise UrlRefused(f"The URL has more than {MOST_CHARACTERS} characters: give a shorter one.")
    if any(not character.isprintable() or character in " \\" for character in url):
        raise UrlRefused("The URL holds a space, a backslash or a control character: encode it.")
    try:
        parsed = httpx2.URL(url)
        host = parsed.raw_host.decode("ascii")
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise UrlRefused(f"The URL cannot be read ({error}): check its host and port.") from error
    if parsed.scheme not in PORTS:
        raise UrlRefused("The URL is neither https:// nor http://: give one that is.")
    authority = _AUTHORITY.match(url)
    if authority is None or not authority[1]:
        raise UrlRefused("The URL names no host: give one like https://example.org/picture.jpg.")
    if "@" in authority[1]:
        raise UrlRefused(
            "The URL holds a user name or password: take it out; a signed URL can do without."
        )
    port = parsed.port if parsed.port is not None else PORTS[parsed.scheme]
    if not 0 < port < 65536:
        raise UrlRefused(f"The URL's port {port} is none: leave it out.")
    _check_host(host)
    return Target(parsed.scheme, host, port, parsed.raw_path.decode("ascii"))


def _check_host(host: str) -> None:
    if ":" in host and "%" in host:
        raise UrlRefused("The URL's host names a zone: leave out what is behind the %.")
    if _address(host) is not None:
        return
    if _NUMBER.search(host.rstrip(".").rpartition(".")[2]):
        raise UrlRefused(
            "The URL's host is a number: write an address as four decimal numbers without zeros "
            "before them."
        )
    if not _NAME.fullmatch(host):
        raise UrlRefused(
            "The URL's host is no name of a host: letters, digits and hyphens between dots, "
            "and no dot at the end."
        )


def _encoded(name: str) -> str:
    """As the connection would write it; "" for what is no host."""
    try:
        return "" if set(name) & set("/:@?#") else httpx2.URL(f"http://{name}").raw_host.decode()
    except httpx2.InvalidURL:
        return ""


def _address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _check_port(port: int) -> None:
    if port not in PORTS.values():
        raise UrlRefused(
            f"The URL's port is {port}: only 80 and 443 are connected to, or {_ALLOW}."
        )
