"""Where webhooks may be sent: to public addresses, however others are written, and to what a setting permits."""

import socket
from ipaddress import ip_address, ip_network
from typing import Any

import httpcore
import pytest

from jotunheim.data.webhook.url import Receiver
from jotunheim.jobs.webhook.connecting import CheckedBackend, Deadline, NotPermittedError
from jotunheim.services.webhooks.addresses import is_permitted, is_public

PUBLIC = ("1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.255",
          "2606:4700::1111", "2a00:1450:4001::1")  # fmt: skip
NOT_PUBLIC = (
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:1.1.1.1", "::ffff:0:1.1.1.1", "64:ff9b::7f00:1", "64:ff9b::101:101",
    "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::1",
    "3fff::1", "5f00::1", "fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1", "4000::1",
)  # fmt: skip
DEAD = ("8.8.8.8", "2a00:1450:4001::1")
LOOPBACK = (ip_network("127.0.0.0/8"),)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_called_with_tls(address: str) -> None:
    assert is_public(ip_address(address))
    assert is_permitted(ip_address(address), (), plain=False)
    assert not is_permitted(ip_address(address), LOOPBACK, plain=True)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_others_may_not(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not is_permitted(ip_address(address), (), plain=False)


def test_what_a_setting_permits_may_be_called_also_without_tls_and_nothing_that_embeds_it() -> None:
    for plain in (True, False):
        assert is_permitted(ip_address("127.0.0.1"), LOOPBACK, plain=plain)
        assert not is_permitted(ip_address("::ffff:127.0.0.1"), LOOPBACK, plain=plain)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://a.example/", "https"),
        ("//a.example/", "https"),
        ("a.example", "https"),
        ("https://", "host"),
        ("https:///x", "host"),
        ("https://user@a.example/", "user"),
        ("https://user:password@a.example/", "user"),
        ("https://a.example@10.0.0.1/", "user"),
        ("https://a.example/#x", "fragment"),
        ("https://a.example/#", "fragment"),
        ("https://a.example:22/", "port"),
        ("https://a.example:0/", "port"),
        ("https://a.example:65536/", "URL"),
        ("https://a.example:x/", "URL"),
        ("https://[::1/", "URL"),
        ("https://[fe80::1%25eth0]/", "host"),
        ("https://a b.example/", "spaces"),
        ("https://a.example\\@b.example/", "spaces"),
        ("https://a.example/\r\nX: y", "spaces"),
        ("https://a.example/\u00e9", "percent"),
        ("https://a_b.example/", "host"),
        ("https://a.example./", "host"),
        ("https://-a.example/", "host"),
        ("https://127.1/", "host"),
        ("https://2130706433/", "host"),
        ("https://0x7f000001/", "host"),
        ("https://0x7f.1/", "host"),
        ("https://0177.0.0.1/", "host"),
        ("https://127.0.0.1./", "host"),
        ("https://\u2488.example.\u2460\u2461\u2466/", "host"),
        ("https://" + "a" * 64 + ".example/", "host"),
        ("https://{{ 1 }}.example/", "spaces"),
        ("https://{{1}}.example/", "host"),
    ],
)  # fmt: skip
def test_urls_that_no_receiver_has_are_refused(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Receiver.parse(url)


@pytest.mark.parametrize(
    ("url", "is_called"),
    [
        ("HTTPS://Hooks.Example:443", "https://hooks.example/"),
        ("https://b\u00fccher.example:8443/a?b=%20", "https://xn--bcher-kva.example:8443/a?b=%20"),
        ("https://\uff11\uff12\uff17.0.0.1/", None),
        ("https://[::FFFF:7f00:1]/x", "https://[::ffff:7f00:1]/x"),
        ("https://127.0.0.1/x", "https://127.0.0.1/x"),
        ("http://a.example:80/", "http://a.example/"),
    ],
)
def test_urls_are_written_in_one_way(url: str, is_called: str | None) -> None:
    if is_called is None:
        with pytest.raises(ValueError, match="host"):
            Receiver.parse(url)
        return
    assert Receiver.parse(url).url == is_called


def _resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let names lead to these addresses, others each time; returns what is connected to."""
    left, connected = list(answers), list[str]()

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in left.pop(0)]

    def connect(self: Any, host: str, *_: Any) -> httpcore.NetworkStream:
        connected.append(host)
        if host in DEAD:
            raise httpcore.ConnectError("refused")
        return httpcore.MockStream([])

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    return connected


def _connect() -> None:
    CheckedBackend(Receiver.parse("https://rebinding.example/"), (), Deadline(1)).connect_tcp("ignored", 443)


def test_the_address_that_was_checked_is_the_one_that_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads elsewhere when it is looked up again is not looked up again."""
    connected = _resolving(monkeypatch, ["127.0.0.1", "1.1.1.1"], ["10.0.0.1"])
    _connect()
    assert connected == ["1.1.1.1"]
    with pytest.raises(NotPermittedError):
        _connect()
    assert connected == ["1.1.1.1"]


def test_another_address_is_tried_when_nothing_answers_at_one(monkeypatch: pytest.MonkeyPatch) -> None:
    connected = _resolving(monkeypatch, [*DEAD, "10.0.0.1", "1.1.1.1", "9.9.9.9"], list(DEAD))
    _connect()
    assert connected == [*DEAD, "1.1.1.1"]
    with pytest.raises(httpcore.ConnectError):
        _connect()
