"""Kafka in KRaft mode, its jars from Maven Central."""

import hashlib
import shutil
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.cache import build_once, cached
from infra.process import Command, run_tool
from infra.server import HOST, Server, accepts_connections, plain_environment
from infra.tools import JAVA, MAVEN, Tool, require_java

HERE = Path(__file__).parent
POM = HERE / "pom.xml"
LOGGING = HERE / "log4j2.xml"
COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
JAVA_MINIMUM = 17
HEAP_MIB = 512
FORMAT_HEAP_MIB = 128
# Without the optimising compiler a broker starts in two thirds of the time, and its first minute
# leaves the processors to the tests.
QUICK_START = "-XX:TieredStopAtLevel=1"

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={host}:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
# A killed broker may not register again until its old session has run out, 9 s by default.
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
# Every commit of a position waits this long for others to share its write, 5 ms by default.
group.coordinator.append.linger.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
"""


# Beside the plain listener, which the broker itself goes by, one with TLS and passwords.
SECURE_PROPERTIES = """\
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port},SASL_SSL://{host}:{secure}
advertised.listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port},SASL_SSL://{host}:{secure}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
"""  # noqa: E501


# Clients of such a listener are told another port, where something stands between.
PROXIED_PROPERTIES = """\
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}{listeners}
advertised.listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}{advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}
inter.broker.listener.name=PLAINTEXT
"""


@dataclass(frozen=True)
class Proxied:
    """A listener whose clients come, and are sent, through a proxy's port."""

    port: int
    proxy: int


@dataclass(frozen=True)
class Secure:
    """A listener with TLS where a user gives a password, by PLAIN or SCRAM-SHA-512."""

    port: int
    user: str
    password: str
    keystore: Path  # the key and its certificate, PEM


def _build_name() -> str:
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()
    return f"kafka-{digest[:12]}"


def _build(folder: Path, log: Path) -> None:
    shutil.copy(POM, folder)
    where = f"-DoutputDirectory={folder / 'jars'}"
    command: Command = [MAVEN.path(), "--batch-mode", "--strict-checksums", COPY_JARS, where]
    run_tool("the download of Kafka", command, log=log, cwd=folder)


class Kafka(Server):
    """A broker and controller in one process, without any topic and without auto-creation.

    For a second or two after the first group joins, members may see GroupCoordinatorNotAvailable.
    """

    name = "kafka"

    def __init__(
        self, directory: Path, port: int, controller_port: int, secure: Secure | None = None
    ) -> None:
        super().__init__(directory, port)
        self.controller_port = controller_port
        self.secure = secure
        self.proxied: Sequence[Proxied] = ()  # set before the first start

    @staticmethod
    def tools() -> list[Tool]:
        return [JAVA] if cached(_build_name()) else [JAVA, MAVEN]

    @staticmethod
    def install() -> Path:
        require_java(JAVA_MINIMUM)
        return build_once(_build_name(), _build)

    @property
    def _properties(self) -> Path:
        return self.directory / "server.properties"

    def _java(self, heap_mib: int, main: str, *arguments: str | Path) -> Command:
        jars = build_once(_build_name(), _build) / "jars" / "*"
        logging = f"-Dlog4j2.configurationFile={LOGGING}"
        options = [QUICK_START, f"-Xmx{heap_mib}m", logging]
        return [JAVA.path(), *options, "-cp", jars, main, *arguments]

    def _prepare(self) -> None:
        text = PROPERTIES.format(
            host=HOST, port=self.port, controller_port=self.controller_port, data=self.data
        )
        if self.proxied:
            text += self._proxied_properties()
        users: list[str] = []
        if self.secure is not None:
            text += SECURE_PROPERTIES.format(
                host=HOST,
                port=self.port,
                controller_port=self.controller_port,
                secure=self.secure.port,
                user=self.secure.user,
                password=self.secure.password,
                keystore=self.secure.keystore,
            )
            scram = f"[name={self.secure.user},password={self.secure.password}]"
            users = ["--add-scram", f"SCRAM-SHA-512={scram}"]
        self._properties.write_text(text, encoding="utf-8")
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = self._java(
            FORMAT_HEAP_MIB, "kafka.tools.StorageTool", "format", "--standalone",
            f"--cluster-id={cluster}", "--config", self._properties, *users,
        )  # fmt: skip
        run_tool("kafka format", command, log=self.log, env=plain_environment())

    def _proxied_properties(self) -> str:
        each = [(f"PROXIED{number}", one) for number, one in enumerate(self.proxied)]
        return PROXIED_PROPERTIES.format(
            host=HOST,
            port=self.port,
            controller_port=self.controller_port,
            listeners="".join(f",{name}://{HOST}:{one.port}" for name, one in each),
            advertised="".join(f",{name}://{HOST}:{one.proxy}" for name, one in each),
            protocols="".join(f",{name}:PLAINTEXT" for name, _ in each),
        )

    def _command(self) -> Command:
        return self._java(HEAP_MIB, "kafka.Kafka", self._properties)

    def _answers(self) -> bool:
        # The port opens before the broker has joined its own quorum and may serve clients.
        return "Kafka Server started" in self._log_since_start() and accepts_connections(self.port)
