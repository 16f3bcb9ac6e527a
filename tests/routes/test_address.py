"""Whose address counts: what proxies say, from those that are trusted, and what nobody may claim."""

import random
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest

from jotunheim.routes.address import client_behind, parse
from tests.support import plain_http
from tests.support.service import Service

TRUSTED = [ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("192.0.2.9", "192.0.2.1", "192.0.2.9"),
        ("127.0.0.1", "6.6.6.6, 192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", "6.6.6.6, 192.0.2.1, 10.1.2.3", "192.0.2.1"),
        ("127.0.0.1", "10.0.0.1,10.0.0.2", "10.0.0.1"),
        ("127.0.0.1", "192.0.2.1:4711", "192.0.2.1"),
        ("127.0.0.1", "[2001:DB9::0:1]:4711", "2001:db9::1"),
        ("127.0.0.1", "2001:db9::1", "2001:db9::1"),
        ("127.0.0.1", "192.0.2.1, 2001:db8::5", "192.0.2.1"),
        ("127.0.0.1", "::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:127.0.0.1", "::ffff:192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", "garbage", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.1, garbage", "127.0.0.1"),
        ("127.0.0.1", "garbage, 192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", "192.0.2.1, unknown, 10.0.0.1", "10.0.0.1"),
        ("127.0.0.1", "192.0.2.1,", "127.0.0.1"),
        ("127.0.0.1", ", ,192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", "192.0.2.1:http", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.1:\uff14\uff17", "127.0.0.1"),
        ("127.0.0.1", "fe80::1%eth0\r\nforged", "127.0.0.1"),
        ("127.0.0.1", "[::1", "::1"),
        ("127.0.0.1", "1" * 60_000, "127.0.0.1"),
        ("127.0.0.1", "0x7f.1", "127.0.0.1"),
        ("127.0.0.1", "010.0.0.1", "127.0.0.1"),
        ("127.0.0.1", ",".join(["6.6.6.6"] * 1000 + ["192.0.2.1"]), "192.0.2.1"),
    ],
    ids=lambda text: text[:40],
)
def test_the_rightmost_address_that_is_no_proxy_is_the_client(peer: str, forwarded: str, client: str) -> None:
    found = parse(peer)
    assert found is not None
    assert str(client_behind(found, forwarded, TRUSTED)) == client


def test_nobody_is_believed_by_default() -> None:
    peer = parse("127.0.0.1")
    assert peer is not None
    assert client_behind(peer, "192.0.2.1", []) == peer


def test_a_thousand_proxies_are_not_followed() -> None:
    peer = parse("127.0.0.1")
    assert peer is not None
    assert str(client_behind(peer, ",".join(["192.0.2.1"] + ["10.0.0.1"] * 1000), TRUSTED)) == "10.0.0.1"


def test_no_text_is_ever_a_client_that_is_no_address() -> None:
    dice = random.Random(7)
    peer = parse("127.0.0.1")
    assert peer is not None
    for _ in range(3000):
        text = "".join(dice.choice('0123456789abcdef:.,[]% \t"\x00é') for _ in range(dice.randrange(40)))
        assert parse(str(client_behind(peer, text, TRUSTED))) is not None


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service behind a proxy on the same machine."""
    settings = {"JOTUNHEIM_TRUSTED_PROXIES": "127.0.0.1 10.0.0.0/8"}
    with Service.start(tmp_path_factory.mktemp("proxied"), worker=False, settings=settings) as started:
        yield started


def _logged(service: Service, headers: Any) -> str:
    """The address with which a request is logged."""
    request_id = f"traced-{random.randrange(10**9)}"
    answer = plain_http.get(
        str(service.http.base_url).rstrip("/") + "/admin/locations",
        headers=[*headers, ("X-Request-ID", request_id), ("Authorization", f"Bearer {service.token}")],
    )
    assert answer.status_code == 200
    log = (service.state / "serve.log").read_text()
    [line] = [line for line in log.splitlines() if line.endswith(f"request_id={request_id}")]
    return line.split("jotunheim.access: ")[1].split(" ")[0]


def test_the_access_log_names_the_client(proxied: Service, service: Service) -> None:
    forwarded = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "192.0.2.1, 10.0.0.7")]
    assert _logged(proxied, forwarded) == "192.0.2.1"
    assert _logged(proxied, []) == "127.0.0.1"
    assert _logged(proxied, [("X-Forwarded-For", "\x7fgarbage forged")]) == "127.0.0.1"
    assert _logged(proxied, [("X-Forwarded-Proto", "gopher"), ("Forwarded", "for=192.0.2.7")]) == "127.0.0.1"
    assert _logged(service, forwarded) == "127.0.0.1"
