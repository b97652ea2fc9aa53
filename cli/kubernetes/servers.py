"""The servers that pods use, as the settings name them; and what the Secret has to hold."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import parse_qs, urlsplit

from common.errors import SettingsInvalid
from common.job_log.kafka.cluster import Cluster, read_cluster
from common.settings import Settings

JOB_LOG, STORE, LEDGER = (
    "DARKROOM_JOB_LOG_URL",
    "DARKROOM_OBJECT_STORE_URL",
    "DARKROOM_DATABASE_URL",
)
STORE_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
HUB_TOKEN = "HF_TOKEN"  # may be missing
KAFKA_USER, KAFKA_PASSWORD = "kafka-username", "kafka-password"  # KEDA reads no URL
_SERVERS = {
    JOB_LOG: ("kafka", "kafka://HOST:PORT"),
    STORE: ("s3", "s3://BUCKET?endpoint=https://HOST:PORT"),
    LEDGER: ("postgresql+asyncpg", "postgresql+asyncpg://USER:PASSWORD@HOST:PORT/NAME"),
}
_AUTHORITY_OPTIONS = ("ssl_cafile", "ca_file", "sslrootcert")


@dataclass(frozen=True, slots=True)
class Servers:
    """What the manifests need to know of them; no password among it but within `cluster`."""

    cluster: Cluster
    authorities: dict[str, str]  # file in the pods -> key of the Secret

    @property
    def secret_keys(self) -> list[str]:
        """What the Secret must hold."""
        login = [KAFKA_USER, KAFKA_PASSWORD] if self.cluster.login else []
        return [*_SERVERS, *STORE_KEYS, *login, *self.authorities.values()]


def servers_of(settings: Settings) -> Servers:
    """Raises SettingsInvalid where a pod could not reach one of them."""
    urls = {
        JOB_LOG: settings.job_log_url,
        STORE: settings.object_store_url,
        LEDGER: settings.database_url,
    }
    embedded = [name for name, url in urls.items() if urlsplit(url).scheme != _SERVERS[name][0]]
    if embedded:
        wanted = ", ".join(f"{name}={form}" for name, (_, form) in _SERVERS.items())
        raise SettingsInvalid(
            f"{', '.join(embedded)}: a file of this machine, which no pod sees. In a cluster all "
            f"three have to be servers: {wanted}"
        )
    cluster = read_cluster(settings.job_log_url)
    _check_hosts(JOB_LOG, cluster.servers)
    _check_hosts(STORE, parse_qs(urlsplit(settings.object_store_url).query).get("endpoint", []))
    _check_hosts(LEDGER, [urlsplit(settings.database_url).netloc.rpartition("@")[2]])
    return Servers(cluster, _authorities(urls))


def _check_hosts(setting: str, servers: tuple[str, ...] | list[str]) -> None:
    for server in servers:
        host = urlsplit(server if "//" in server else f"//{server}").hostname or ""
        if _is_loopback(host):
            raise SettingsInvalid(
                f"{setting} leads to {host}, which in a pod is the pod itself: name the server as "
                "the cluster reaches it"
            )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _authorities(urls: dict[str, str]) -> dict[str, str]:
    files: dict[str, str] = {}
    for setting, url in urls.items():
        options = parse_qs(urlsplit(url).query)
        for file in (options[name][0] for name in _AUTHORITY_OPTIONS if name in options):
            path = PurePosixPath(file)
            if not path.is_absolute() or ".." in path.parts:
                raise SettingsInvalid(
                    f"{setting}: {file} should be the whole path that the file has in the pods, "
                    "such as /etc/darkroom/tls/ca.pem"
                )
            if path.name in {key for other, key in files.items() if other != file}:
                raise SettingsInvalid(
                    f"{setting}: another setting names another file {path.name}, and a Secret "
                    "keeps them by name: rename one"
                )
            files[file] = path.name
    return files
