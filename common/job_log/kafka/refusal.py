"""Why a Kafka cluster cannot be reached: the driver's own error only says that it cannot."""

from __future__ import annotations

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from common.errors import SettingsInvalid
from common.job_log.kafka.cluster import SETTING, Cluster
from common.server_url import certificate_error

_REQUEST_MS = 4000
_REFUSALS = (SaslAuthenticationFailed, UnsupportedSaslMechanismError, IllegalSaslStateError)


async def raise_refusal(cluster: Cluster) -> None:
    """Raises SettingsInvalid if a server answers and it, or we, will not have the other."""
    for host, port, _ in collect_hosts(list(cluster.servers)):
        try:
            connection = await create_conn(
                host, port, request_timeout_ms=_REQUEST_MS, **cluster.security()
            )
        except _REFUSALS as error:
            assert cluster.login is not None
            raise SettingsInvalid(
                f"{SETTING}: Kafka at {host}:{port} refuses the user {cluster.login.user!r} by "
                f"{cluster.login.mechanism}: check the user, the password and sasl_mechanism"
            ) from error
        except (KafkaError, OSError, TimeoutError) as error:
            wrong = certificate_error(error)
            if wrong is not None:
                raise SettingsInvalid(
                    f"{SETTING}: the certificate of Kafka at {host}:{port} is not trusted "
                    f"({wrong.verify_message}): name its authority's file by ssl_cafile="
                ) from error
        else:
            connection.close()
