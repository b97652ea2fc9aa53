"""Listeners inside, which must hear nothing, and every way of spelling the way to them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.unit.common.test_url_guard import HOSTILE

PORTS = (80, 443, 8080)

# Beside those of the guard's own tests: what other libraries read as an address inside.
SPELLINGS = [
    *(url for url, _ in HOSTILE),
    "http://0127.0.0.1/",
    "http://0x7f.0x0.0x0.0x1/",
    "http://0X7F000001/",
    "http://00000177.0.0.1/",
    "http://0177.0.1/",
    "http://127.0.1/",
    "http://127.00000.0.1/",
    "http://4294967295/",
    "http://6425673729/",  # more than 32 bits, 127.0.0.1 where they wrap
    "http://127.0.0.1:80/",
    "http://127.0.0.1:8080/",
    "http://127.0.0.1:443/",
    "http://127.0.0.1%00.example.org/",
    "http://127.0.0.1%20/",
    "http://%31%32%37.0.0.1/",
    "http://127%E3%80%820.0.1/",
    "http://127．0．0．1/",
    "http://127｡0｡0｡1/",
    "http://𝟏𝟐𝟕.𝟎.𝟎.𝟏/",
    "http://①②⑦.0.0.1/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://localhoſt/",
    "http://lOcAlHoSt:80/",
    "http://[::1]:80/",
    "http://[::1]:8080/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[::ffff:0127.0.0.1]/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]/",
    "http://[::7f00:1]/",
    "http://[::1%25lo]/",
    "http://[::1%lo]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::5efe:7f00:1]/",  # ISATAP
    "http://[2001:db8::5efe:127.0.0.1]/",
    "http://[2002:7f00:0001::7f00:1]/",
    "http://[2001:0000:4136:e378:8000:63bf:80ff:fffe]/",  # Teredo of 127.0.0.1
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::a9fe:a9fe]/",
    "http://[100::1]/",
    "http://[ff01::1]/",
    "http://[ff05::2]/",
    "http://169.254.169.254/",
    "http://0xa9fea9fe/",
    "http://2852039166/",
    "http://169.254.43518/",
    "http://[::ffff:169.254.169.254]/",
    "http://169.254.170.2/v2/credentials",
    "http://100.64.0.1/",
    "http://239.255.255.250/",
    "http://example.org@127.0.0.1/",
    "http://example.org:80@127.0.0.1/",
    "http://example.org%40127.0.0.1/",
    "http://127.0.0.1\\@example.org/",
    "http://127.0.0.1\\.example.org/",
    "http:\\\\127.0.0.1\\",
    "http://127.0.0.1\t/",
    "http://127.0.0.1\n/",
    "http://127.0.\r\n0.1/",
    "\thttp://127.0.0.1/",
    " http://127.0.0.1/",
    "http://127.0.0.1\u200b/",
    "http://127.0.0.1\u00ad/",
    "http://\u202e127.0.0.1/",
    "http:127.0.0.1/",
    "http:////127.0.0.1/",
    "https://127.0.0.1/",
    "HTTP://127.0.0.1/",
    "ws://127.0.0.1/",
    "dict://127.0.0.1:11211/stat",
    "ldap://127.0.0.1/",
    "jar:http://127.0.0.1!/",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "s3://bucket/key",
    "ftp://127.0.0.1/",
]

# Names that pass the door, since a name is judged when it is connected to, and what they mean.
NAMES = {
    "ip6-localhost": "::1",
    "localhost.localdomain": "127.0.0.1",
    "127.0.0.1.nip.io": "127.0.0.1",
    "localtest.me": "127.0.0.1",
    "mapped.localtest.me": "::ffff:127.0.0.1",
    "any.localtest.me": "0.0.0.0",
    "this-host": "127.0.1.1",
    "metadata.google.internal": "169.254.169.254",
    "metadata": "169.254.169.254",
    "instance-data": "169.254.169.254",
    "kubernetes.default.svc": "10.96.0.1",
}


class Trap:
    """Counts the connections to each of PORTS, on loopback of both kinds."""

    def __init__(self) -> None:
        self.heard = 0
        self._sockets = []
        for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            for port in PORTS:
                listener = socket.socket(family)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family is socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind((host, port))
                listener.listen(100)
                self._sockets.append(listener)
                threading.Thread(target=self._listen, args=(listener,), daemon=True).start()

    def _listen(self, listener: socket.socket) -> None:
        with suppress(OSError):  # it was closed
            while True:
                connection, _ = listener.accept()
                self.heard += 1
                connection.settimeout(1)
                with suppress(OSError):
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                connection.close()

    def close(self) -> None:
        for listener in self._sockets:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()


@contextmanager
def trap() -> Iterator[Trap]:
    """Raises PermissionError where ports below 1024 are for others."""
    listening = Trap()
    try:
        yield listening
    finally:
        listening.close()
