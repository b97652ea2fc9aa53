"""How to reach a Kafka cluster: servers, user and TLS, as the URL of the setting says."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from common.errors import SettingsInvalid
from common.server_url import shown, tls_context

SETTING = "DARKROOM_JOB_LOG_URL"
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
_SERVER = re.compile(r"([^:@\s\[\]]+|\[[^\]]+\])(:\d+)?")
_OPTIONS = ("prefix", "security_protocol", "sasl_mechanism", "ssl_cafile")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who we are to the cluster."""

    user: str
    password: str = field(repr=False)
    mechanism: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """How to reach a cluster, and which names in it are ours: those with the prefix."""

    servers: tuple[str, ...]
    prefix: str = ""
    security_protocol: str = "PLAINTEXT"
    login: Login | None = None
    ca_file: str | None = None
    tls: ssl.SSLContext | None = None

    @property
    def encrypted(self) -> bool:
        """Whether connections to it are TLS."""
        return self.security_protocol.endswith("SSL")

    def wire(self, name: str) -> str:
        """The name of a topic or group as the cluster knows it."""
        return self.prefix + name

    def plain(self, name: str) -> str:
        """The inverse of `wire`."""
        return name.removeprefix(self.prefix)

    def security(self) -> dict[str, Any]:
        """What every connection of aiokafka takes."""
        options = {"security_protocol": self.security_protocol, "ssl_context": self.tls}
        if self.login is not None:
            options |= {
                "sasl_mechanism": self.login.mechanism,
                "sasl_plain_username": self.login.user,
                "sasl_plain_password": self.login.password,
            }
        return options

    def options(self) -> dict[str, Any]:
        """What every aiokafka client takes."""
        return {
            "bootstrap_servers": list(self.servers),
            "retry_backoff_ms": 100,
            **self.security(),
        }


def cluster_of(url: str) -> Cluster:
    """What `kafka://[USER:PASSWORD@]HOST:PORT[,HOST:PORT][?…]` says. Raises SettingsInvalid."""
    cluster = read_cluster(url)
    return replace(
        cluster, tls=tls_context(SETTING, cluster.ca_file) if cluster.encrypted else None
    )


def read_cluster(url: str) -> Cluster:
    """The same, without its authorities: the file may be on another machine."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    credentials, _, hosts = parts.netloc.rpartition("@")
    servers = tuple(server for server in hosts.split(",") if server)
    whole = all(map(_SERVER.fullmatch, servers)) and not parts.path and not parts.fragment
    protocol = options.get("security_protocol", "PLAINTEXT")
    if not servers or not whole or options.keys() - set(_OPTIONS) or protocol not in _PROTOCOLS:
        raise SettingsInvalid(
            f"{SETTING}: {shown(url)!r} should be kafka://[USER:PASSWORD@]HOST:PORT[,HOST:PORT] "
            f"with, at most, {', '.join(_OPTIONS)} as options after a ?, and a security_protocol "
            f"of {', '.join(_PROTOCOLS)}; of a password write / ? # @ as %2F %3F %23 %40"
        )
    cluster = Cluster(
        servers=servers,
        prefix=options.get("prefix", ""),
        security_protocol=protocol,
        login=_login(credentials, protocol, options.get("sasl_mechanism")),
        ca_file=options.get("ssl_cafile"),
    )
    if cluster.ca_file is not None and not cluster.encrypted:
        raise SettingsInvalid(f"{SETTING}: ssl_cafile needs security_protocol=SASL_SSL or SSL")
    return cluster


def _login(credentials: str, protocol: str, mechanism: str | None) -> Login | None:
    """A user without a protocol that asks for one would go unchecked, and the other way round."""
    user, _, password = credentials.partition(":")
    asked = protocol.startswith("SASL_")
    if asked != bool(credentials) or (mechanism is not None and not asked):
        raise SettingsInvalid(
            f"{SETTING}: a user, a password and a sasl_mechanism go together with "
            f"security_protocol=SASL_SSL (or SASL_PLAINTEXT); it says {protocol}"
        )
    if not asked:
        return None
    if not user or not password:
        raise SettingsInvalid(f"{SETTING}: it should hold USER:PASSWORD@ before the host")
    mechanism = mechanism or _MECHANISMS[0]
    if mechanism not in _MECHANISMS:
        raise SettingsInvalid(f"{SETTING}: sasl_mechanism is one of {', '.join(_MECHANISMS)}")
    return Login(user=unquote(user), password=unquote(password), mechanism=mechanism)
