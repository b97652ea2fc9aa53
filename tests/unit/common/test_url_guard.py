from __future__ import annotations

from ipaddress import ip_address

import pytest

from common.errors import SettingsInvalid, UrlRefused
from common.url_guard import UrlGuard, is_public

# Spellings of 127.0.0.1 and of other addresses that are nobody's business, and what is said.
HOSTILE = [
    ("http://[2606:4700::1111%]]/", "zone"),
    ("http://[2606:4700::1111%eth0]/", "zone"),
    ("http://[2606:4700::1111%25é]/", "read"),
    ("http://127.0.0.1/", "not public"),
    ("http://127.255.255.254/", "not public"),
    ("http://127.1/", "number"),
    ("http://2130706433/", "number"),
    ("http://0x7f000001/", "number"),
    ("http://0x7f.0.0.1/", "number"),
    ("http://0x7f.1/", "number"),
    ("http://0177.0.0.1/", "read"),
    ("http://017700000001/", "number"),
    ("http://127.0.0.1./", "number"),
    ("http://127.0.0.0x1/", "number"),
    ("http://①②⑦.⓪.⓪.①/", "read"),
    ("http://１２７.0.0.1/", "read"),
    ("http://127。0。0。1/", "not public"),
    ("http://127%2e0.0.1/", "number"),
    ("http://[::1]/", "not public"),
    ("http://[0:0:0:0:0:0:0:1]/", "not public"),
    ("http://[::]/", "not public"),
    ("http://0.0.0.0/", "not public"),
    ("http://0/", "number"),
    ("http://[::ffff:127.0.0.1]/", "not public"),
    ("http://[::ffff:7f00:1]/", "not public"),
    ("http://[::127.0.0.1]/", "not public"),
    ("http://[64:ff9b::7f00:1]/", "not public"),
    ("http://[64:ff9b::10.0.0.1]/", "not public"),
    ("http://[64:ff9b:1::7f00:1]/", "not public"),
    ("http://[2002:7f00:1::]/", "not public"),
    ("http://[2001:0:7f00:1::]/", "not public"),
    ("http://[fe80::1]/", "not public"),
    ("http://[fe80::1%25lo]/", "zone"),
    ("http://[fec0::1]/", "not public"),
    ("http://[fd00:ec2::254]/", "not public"),
    ("http://[ff02::1]/", "not public"),
    ("http://[2001:db8::1]/", "not public"),
    ("http://[3fff::1]/", "not public"),
    ("http://10.0.0.1/", "not public"),
    ("http://172.31.0.1/", "not public"),
    ("http://192.168.1.1/", "not public"),
    ("http://169.254.169.254/latest/meta-data/", "not public"),
    ("http://100.100.100.200/", "not public"),
    ("http://192.0.0.192/", "not public"),
    ("http://168.63.129.16/", "not public"),
    ("http://198.18.0.1/", "not public"),
    ("http://224.0.0.1/", "not public"),
    ("http://240.0.0.1/", "not public"),
    ("http://255.255.255.255/", "not public"),
    ("http://localhost/", "not public"),
    ("http://LOCALHOST/", "not public"),
    ("http://a.localhost/", "not public"),
    ("http://localhost./", "dot at the end"),
    ("http://example.org./", "dot at the end"),
    ("http://example..org/", "name of a host"),
    ("http://exa mple.org/", "space"),
    ("http://example.org\\@127.0.0.1/", "backslash"),
    ("http://example.org\t/", "control"),
    ("http://example.org\r\nHost: internal/", "control"),
    ("http://user@example.org/", "user name"),
    ("http://user:secret@example.org/", "user name"),
    ("http://@example.org/", "user name"),
    ("http://8.8.8.8@127.0.0.1/", "user name"),
    ("http://example.org:8080/", "port"),
    ("https://example.org:22/", "port"),
    ("http://example.org:0/", "port"),
    ("http://example.org:99999/", "port"),
    ("http://example.org:eighty/", "read"),
    ("http://8.8.8.8:6379/", "port"),
    ("ftp://example.org/a.jpg", "https://"),
    ("file:///etc/passwd", "https://"),
    ("gopher://127.0.0.1:6379/_PING", "https://"),
    ("//example.org/", "https://"),
    ("http:/example.org/", "host"),
    ("http:///a.jpg", "host"),
    ("http://[::1/", "read"),
    (f"http://example.org/{'a' * 4096}", "characters"),
    (f"http://{'a' * 64}.org/", "name of a host"),
]


@pytest.mark.parametrize(("url", "reason"), HOSTILE)
def test_a_hostile_spelling_is_refused_with_its_reason(url: str, reason: str) -> None:
    with pytest.raises(UrlRefused, match=reason):
        UrlGuard().check(url)


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("https://example.org", "example.org", 443, "/"),
        ("HTTPS://Example.ORG/a.jpg?b=c#d", "example.org", 443, "/a.jpg?b=c"),
        ("http://example.org:443/", "example.org", 443, "/"),
        ("http://8.8.8.8/", "8.8.8.8", 80, "/"),
        ("http://[2606:4700::1111]/", "2606:4700::1111", 80, "/"),
        ("http://[64:ff9b::8.8.8.8]/", "64:ff9b::8.8.8.8", 80, "/"),
        ("https://bücher.example/ü", "xn--bcher-kva.example", 443, "/%C3%BC"),
        ("https://a_b.example.org/", "a_b.example.org", 443, "/"),
    ],
)
def test_a_public_url_leads_where_it_says(url: str, host: str, port: int, path: str) -> None:
    target = UrlGuard().check(url)

    assert (target.host, target.port, target.path) == (host, port, path)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.1.2.3:9000/",
        "http://[::ffff:10.1.2.3]/",
        "http://minio:9000/",
        "http://MINIO/",
        "http://bücher.internal:81/",
        "http://[fd00::7]:1/",
        "http://some-name:9000/",  # it may mean an address of the network: judged when connected
    ],
)
def test_what_the_allowlist_names_is_trusted_on_any_port(url: str) -> None:
    UrlGuard(" 10.0.0.0/8, fd00::7,minio , bücher.internal,").check(url)


def test_an_allowlist_of_hosts_trusts_no_other_host() -> None:
    guard = UrlGuard("minio")

    for url in ("http://other:9000/", "http://10.0.0.1/", "http://minio.example.org:9000/"):
        with pytest.raises(UrlRefused):
            guard.check(url)


@pytest.mark.parametrize(
    "allowlist",
    ["http://minio", "minio:9000", "10.1.2.3/8", "me@minio", "*", "127.1", "a b", "[::1]:80"],
)
def test_an_allowlist_that_makes_no_sense_names_the_setting(allowlist: str) -> None:
    with pytest.raises(SettingsInvalid, match="DARKROOM_URL_ALLOWLIST"):
        UrlGuard(allowlist)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9999/hook", "http://localhost:9999/", "http://[::1]:9999/"]
)
def test_loopback_is_allowed_where_the_guard_is_told(url: str) -> None:
    UrlGuard(loopback=True).check(url)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://example.org:9999/", "http://0.0.0.0/", "http://a.localhost"]
)
def test_loopback_allows_nothing_else(url: str) -> None:
    with pytest.raises(UrlRefused):
        UrlGuard(loopback=True).check(url)


def test_a_name_that_means_loopback_is_refused_though_loopback_is_allowed() -> None:
    with pytest.raises(UrlRefused):
        UrlGuard(loopback=True).admit("evil.example", 80, [ip_address("127.0.0.1")])


def test_one_inner_address_among_public_ones_refuses_the_host() -> None:
    addresses = [ip_address("8.8.8.8"), ip_address("10.0.0.1")]

    with pytest.raises(UrlRefused, match=r"mixed\.example"):
        UrlGuard().admit("mixed.example", 443, addresses)


def test_a_refusal_does_not_tell_which_address_a_name_has_inside() -> None:
    with pytest.raises(UrlRefused) as refused:
        UrlGuard().admit("db.internal", 443, [ip_address("10.9.8.7")])

    assert "10.9.8.7" not in str(refused.value)


def test_a_trusted_network_lifts_the_port_for_its_own_addresses_alone() -> None:
    guard = UrlGuard("10.0.0.0/8")
    guard.admit("inner.example", 9000, [ip_address("10.0.0.1")])

    with pytest.raises(UrlRefused, match="port"):
        guard.admit("outer.example", 9000, [ip_address("8.8.8.8")])


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "2002:808:808::", "1.1.1.1"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ip_address(address))
