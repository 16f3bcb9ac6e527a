"""What address pools give to servers: addresses, prefixes, MAC addresses; and what they refuse."""

import re
import tarfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
import yaml

from tests.support.sandbox import Sandbox
from tests.support.service import Service

LAN = {"name": "lan", "family": "ipv4", "first": "10.80.0.10", "last": "10.80.0.40", "prefix_length": 24}
SIX = {"name": "six", "family": "ipv6", "prefix": "2001:db8:1::/120", "gateway": "2001:db8:1::1"}
SITES = {"name": "sites", "family": "ipv6", "prefix": "2001:db8:100::/56", "delegated_prefix_length": 64}
MAC = re.compile(r"virtio=([0-9A-F:]{17})")


@pytest.fixture(scope="module")
def service(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with three pools: addresses with a MAC prefix and quarantine, IPv6 addresses, prefixes."""
    settings = {
        "JOTUNHEIM_VMID_FIRST": "4000"
    }  # other services build on the same node, and a preview takes no second VMID
    with Service.start(tmp_path_factory.mktemp("pools"), settings=settings) as started:
        started.add_infrastructure(sandbox)
        assert started.http.delete(f"/admin/address-pools/{started.ids['pool']}").status_code == 200
        lan = {**LAN, "gateway": "10.80.0.1", "mac_prefix": "02-00-5e", "quarantine_seconds": 3600}
        for spec in (lan, SIX, SITES):
            made = started.create("address-pools", spec)["address_pool"]
            started.ids[spec["name"]] = made["id"]
        yield started


def pool(service: Service, name: str) -> dict[str, Any]:
    """A pool as it is."""
    found: dict[str, Any] = service.read(f"address-pools/{service.ids[name]}")["address_pool"]
    return found


def addresses(server: dict[str, Any]) -> list[str]:
    """Of a server."""
    return [entry["address"] for entry in server["addresses"]]


def refused(service: Service, addresses: dict[str, Any]) -> tuple[int, list[tuple[str, str]]]:
    """Status and details of a creation with these addresses; nothing of it is left."""
    counted = [pool(service, name)["free"] for name in ("lan", "six", "sites")]
    spec = {"name": "refused", "template_id": service.ids["template"], "addresses": addresses}
    status, error = service.refused("servers", spec)
    assert [pool(service, name)["free"] for name in ("lan", "six", "sites")] == counted
    return status, [(detail["field"], detail["message"]) for detail in error["details"]]


def test_a_server_keeps_its_mac_address(service: Service, sandbox: Sandbox) -> None:
    assert pool(service, "lan")["mac_prefix"] == "02:00:5E"
    wanted = {"ipv4": 1, "ipv6": 1, "ipv6_prefixes": 1}
    spec = {"name": "macs", "template_id": service.ids["template"], "addresses": wanted}
    preview = service.ask("servers?check=true", spec)
    mac = preview["server"]["mac"]
    assert mac.startswith("02:00:5E:")
    assert service.finished(preview["job"]["id"])["status"] == "succeeded"
    shown = str(service.read(f"jobs/{preview['job']['id']}")["job"]["steps"])
    assert mac in shown
    job = service.ask(f"servers?plan={preview['job']['id']}")["job"]
    assert service.finished(job["id"])["status"] == "succeeded"
    server = service.server(preview["server"]["id"])
    assert server == {**preview["server"], **{name: server[name] for name in
                      ("status", "power", "job_id", "disk_bytes", "created_at", "updated_at")}}  # fmt: skip
    assert MAC.findall(sandbox.config(server["vmid"])["net0"]) == [mac]

    fault = {"method": "POST", "path": "/clone$", "status": 500, "message": "no", "count": 1}
    sandbox.control.post("/faults", json=fault).raise_for_status()
    other = service.create_server("macs-2", addresses={"ipv4": 1})
    assert service.finished(other["job"]["id"])["status"] == "failed"
    assert service.done(f"jobs/{other['job']['id']}/retry")["status"] == "succeeded"
    assert MAC.findall(sandbox.config(other["server"]["vmid"])["net0"]) == [other["server"]["mac"]] != [mac]

    net0 = sandbox.config(server["vmid"])["net0"]
    moved = net0.replace(mac, "02:00:00:00:00:01")
    sandbox.api.put(f"/nodes/pve1/qemu/{server['vmid']}/config", data={"net0": moved}).raise_for_status()
    service.done(f"servers/{server['id']}/configure")
    assert sandbox.config(server["vmid"])["net0"] == net0
    service.done(f"servers/{server['id']}/rebuild")
    assert sandbox.config(server["vmid"])["net0"] == net0
    service.done(f"servers/{server['id']}", {"network": {"model": "e1000"}}, "PATCH")
    assert mac in sandbox.config(server["vmid"])["net0"]
    without = service.built("no-policy", addresses={"ipv6": 1}, start=False)
    assert without["mac"] is None
    assert MAC.findall(sandbox.config(without["vmid"])["net0"])[0].startswith("BC:24:11")


def test_a_prefix_goes_to_the_server_and_into_its_inventory(service: Service, sandbox: Sandbox) -> None:
    server = service.built("router", addresses={"ipv6": 1, "ipv6_prefixes": 2}, start=False)
    first, second = server["delegated_prefixes"]
    assert re.fullmatch(r"2001:db8:100:[0-9a-f:]+::/64|2001:db8:100::/64", first)
    assert first != second
    config = sandbox.config(server["vmid"])["ipconfig0"]
    assert config == f"ip6={addresses(server)[0]}/120,gw6=2001:db8:1::1"
    job = service.done(
        f"servers/{server['id']}", {"addresses": {"ipv6_prefixes": 1, "explicit": [second]}}, "PATCH"
    )
    assert service.server(server["id"])["delegated_prefixes"] == [second]
    bundle = service.http.get(f"/admin/jobs/{job['id']}/bundle").content
    with tarfile.open(fileobj=BytesIO(bundle)) as archive:
        (member,) = [member for member in archive if member.name.endswith("/inventory.yml")]
        file = archive.extractfile(member)
        assert file is not None
        (host,) = yaml.safe_load(file)["servers"]["hosts"].values()
    assert host["jotunheim_delegated_prefixes"] == [second]
    listed = service.read(
        f"address-pools/{service.ids['sites']}/addresses?state=allocated&server_id={server['id']}"
    )
    assert [(row["address"], row["state"]) for row in listed["addresses"]] == [(second, "allocated")]
    free = pool(service, "sites")["free"]
    service.done(f"servers/{server['id']}", method="DELETE")
    assert pool(service, "sites")["free"] == free + 1


def test_named_addresses_come_first_and_count_among_the_others(service: Service) -> None:
    def make(name: str, **wanted: Any) -> dict[str, Any]:
        created = service.create_server(name, addresses=wanted, start=False)
        service.finished(created["job"]["id"])
        server: dict[str, Any] = created["server"]
        return server

    one = make("named-1", ipv4=1, explicit=["10.80.0.30"])
    assert addresses(one) == ["10.80.0.30"]
    two = make("named-2", ipv4=3, explicit=["10.80.0.35", "10.80.0.33", "2001:0DB8:0001::00ff"])
    assert addresses(two)[:2] == ["10.80.0.35", "10.80.0.33"]
    assert len(addresses(two)) == 4
    assert addresses(two)[-1] == "2001:db8:1::ff"
    three = make("named-3", explicit=["2001:db8:100:f0::/64"])
    assert (addresses(three), three["delegated_prefixes"]) == ([], ["2001:db8:100:f0::/64"])

    change = {"addresses": {"ipv4": 1, "explicit": ["10.80.0.31"]}}
    service.done(f"servers/{one['id']}", change, "PATCH")
    assert addresses(service.server(one["id"])) == ["10.80.0.31"]
    service.done(f"servers/{one['id']}", {"addresses": {"explicit": ["10.80.0.32", "10.80.0.31"]}}, "PATCH")
    assert addresses(service.server(one["id"])) == ["10.80.0.31", "10.80.0.32"]
    status, error = service.refused(
        f"servers/{one['id']}", {"addresses": {"explicit": ["10.80.0.35"]}}, "PATCH"
    )
    assert (status, error["code"]) == (409, "placement_error")
    assert addresses(service.server(one["id"])) == ["10.80.0.31", "10.80.0.32"]

    keep = f"address-pools/{service.ids['lan']}/addresses/10.80.0.36"
    service.ask(keep, {"reserved_for": "printer"}, "PATCH")
    assert refused(service, {"explicit": ["10.80.0.37", "10.80.0.36", "10.80.0.35"]}) == (
        409,
        [
            ("addresses.explicit.1", "is reserved for printer"),
            ("addresses.explicit.2", "is an address of server named-2"),
        ],
    )


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        ({"explicit": ["10.80.0.20", "10.80.0.20"]}, ["addresses.explicit"]),
        ({"explicit": ["2001:db8:1::7", "2001:DB8:1:0::7"]}, ["addresses.explicit"]),
        ({"explicit": ["{{ lookup('pipe','id') }}", "10.80.0.20/24"]}, ["addresses.explicit.0", "addresses.explicit.1"]),
        ({"explicit": ["10.80.0.1"]}, ["addresses.explicit.0"]),
        ({"explicit": ["10.81.0.1", "10.80.0.20", "fd00::1"]}, ["addresses.explicit.0", "addresses.explicit.2"]),
        ({"explicit": ["2001:db8:100:e0::"]}, ["addresses.explicit.0"]),
        ({"explicit": ["2001:db8:100::/60"]}, ["addresses.explicit.0"]),
        ({"explicit": ["10.80.0.20/32"]}, ["addresses.explicit.0"]),
        ({"explicit": ["fe80::1%eth0"]}, ["addresses.explicit.0"]),
        ({"ipv6_prefixes": 17, "ipv4": -1}, ["addresses.ipv4", "addresses.ipv6_prefixes"]),
    ],
    ids=str,
)  # fmt: skip
def test_addresses_that_no_pool_has_are_named(
    service: Service, wanted: dict[str, Any], fields: list[str]
) -> None:
    status, details = refused(service, wanted)
    assert (status, [field for field, _ in details]) == (422, fields)


def test_what_is_given_back_goes_to_nobody_else_for_a_while(service: Service) -> None:
    """Unless an operator says that it is over."""
    server = service.built("resting", addresses={"explicit": ["10.80.0.25", "10.80.0.26"]}, start=False)
    service.done(f"servers/{server['id']}", {"addresses": {"ipv4": 1}}, "PATCH")
    rows = f"address-pools/{service.ids['lan']}/addresses"
    (row,) = [
        row
        for row in service.read(f"{rows}?state=quarantined")["addresses"]
        if row["address"] == "10.80.0.26"
    ]
    assert row["server_id"] is None
    status, details = refused(service, {"explicit": ["10.80.0.26"]})
    until = row["quarantined_until"][:19] + "Z"
    assert (status, details) == (
        409,
        [("addresses.explicit.0", f"is in quarantine until {until}")],
    )
    assert pool(service, "lan")["total"] == sum(
        pool(service, "lan")[state] for state in ("free", "reserved", "quarantined")
    ) + len(service.read(f"{rows}?state=allocated&per_page=200")["addresses"])
    service.done(f"servers/{server['id']}", {"addresses": {"explicit": ["10.80.0.26"]}}, "PATCH")
    assert addresses(service.server(server["id"])) == ["10.80.0.25", "10.80.0.26"]
    service.done(f"servers/{server['id']}", method="DELETE")
    resting = {row["address"] for row in service.read(f"{rows}?state=quarantined")["addresses"]}
    assert {"10.80.0.25", "10.80.0.26"} <= resting
    over = service.ask(f"{rows}/10.80.0.25", {"quarantined_until": None}, "PATCH")["address"]
    assert (over["state"], over["quarantined_until"]) == ("free", None)
    assert (
        service.refused(f"{rows}/10.80.0.26", {"quarantined_until": "2030-01-01T00:00:00Z"}, "PATCH")[0]
        == 422
    )
    assert addresses(service.create_server("after", addresses={"explicit": ["10.80.0.25"]})["server"]) == [
        "10.80.0.25"
    ]


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({**LAN, "first": "10.80.0.40", "last": "10.80.0.50"}, {"first": "pool {lan}"}),
        ({**LAN, "first": "10.80.0.1", "last": "10.80.0.5"}, {"first": "gateway of pool {lan}"}),
        ({**LAN, "first": "10.80.0.50", "last": "10.80.0.60", "gateway": "10.80.0.12"}, {"gateway": "pool {lan}"}),
        ({"family": "ipv4", "prefix": "10.80.0.0/25"}, {"prefix": "pool {lan}"}),
        ({"family": "ipv6", "prefix": "2001:db8:100:7::/120"}, {"prefix": "pool {sites}"}),
        ({"family": "ipv6", "first": "2001:db8::1", "last": "2001:db8::2", "prefix_length": 32,
          "gateway": "2001:db8:100:7::1"}, {"gateway": "pool {sites}"}),
        ({**SITES, "prefix": "2001:db8:100:80::/57"}, {"prefix": "pool {sites}"}),
        ({**SITES, "prefix": "2001:db8:100::/48", "delegated_prefix_length": 56}, {"prefix": "pool {sites}"}),
        ({**SITES, "prefix": "2001:db8:100::/64", "delegated_prefix_length": 72}, {"prefix": "pool {sites}"}),
        ({**SITES, "prefix": "2001:db8:1::/112", "delegated_prefix_length": 120}, {"prefix": "pool {six}"}),
    ],
)  # fmt: skip
def test_pools_that_contradict_each_other_are_named(
    service: Service, spec: dict[str, Any], named: dict[str, str]
) -> None:
    status, error = service.refused("address-pools", {**spec, "name": "second"})
    assert (status, error["code"]) == (409, "conflict"), error
    told = {detail["field"]: detail["message"] for detail in error["details"]}
    assert told.keys() == named.keys()
    for field, message in named.items():
        assert message.format(**service.ids) in told[field]


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({**SITES, "family": "ipv4", "prefix": "10.0.0.0/8"}, {"delegated_prefix_length"}),
        ({**SITES, "delegated_prefix_length": 48}, {"delegated_prefix_length"}),
        ({**SITES, "delegated_prefix_length": 128}, {"delegated_prefix_length"}),
        ({**SITES, "prefix": "2001:db8::/32"}, {"prefix"}),
        ({**SIX, "prefix": "2001:db8:7::/64", "gateway": None}, {"prefix"}),
        ({**LAN, "first": "10.85.0.1", "last": "10.85.0.9", "gateway": "10.85.0.1", "reserved_addresses":
          ["10.85.0.2", "10.85.0.1", "10.85.0.10", "fd00::1", "10.85.0.2/32"]},
         {f"reserved_addresses.{number}" for number in (1, 2, 3, 4)}),
        ({**SITES, "prefix": "2001:db8:7::/56", "reserved_addresses": ["2001:db8:7::", "2001:db8:7::/60"]},
         {"reserved_addresses.0", "reserved_addresses.1"}),
        ({**LAN, "reserved_addresses": ["10.80.0.10", "10.80.0.10"]}, {"reserved_addresses"}),
        ({**SITES, "gateway": "2001:db8:100::1", "vlan": 1, "mac_prefix": "02:00:00", "nameservers": ["::1"]},
         {"gateway", "vlan", "mac_prefix", "nameservers"}),
        ({**SITES, "prefix": None, "first": "2001:db8:9::1", "last": "2001:db8:9:1::", "prefix_length": 48}, {"first"}),
        ({**SITES, "prefix": None, "first": "2001:db8:9::", "last": "2001:db8:a::", "prefix_length": 48}, {"last"}),
        ({**SIX, "prefix": "fe80::%eth0/64"}, {"prefix"}),
        ({**LAN, "mac_prefix": "03:00:00"}, {"mac_prefix"}),
        ({**LAN, "mac_prefix": "BC:24:11"}, {"mac_prefix"}),
        ({**LAN, "mac_prefix": "02:00"}, {"mac_prefix"}),
        ({**LAN, "mac_prefix": "02:00:00:00:00:00"}, {"mac_prefix"}),
        ({**LAN, "mac_prefix": "{{ 7*7 }}"}, {"mac_prefix"}),
        ({**LAN, "quarantine_seconds": -1}, {"quarantine_seconds"}),
        ({**LAN, "gateway": "10.80.0.255"}, {"gateway"}),
        ({**LAN, "gateway": "10.80.0.0"}, {"gateway"}),
        ({**LAN, "nameservers": ["fd00::1", "FD00::0:1"], "node_ids": [1, 1]}, {"nameservers", "node_ids"}),
    ],
)  # fmt: skip
def test_a_pool_must_make_sense(service: Service, spec: dict[str, Any], fields: set[str]) -> None:
    given = {name: value for name, value in spec.items() if value is not None}
    status, error = service.refused("address-pools", {**given, "name": "second"})
    assert status == 422, error
    assert {detail["field"] for detail in error["details"]} == fields


def test_addresses_are_reserved_with_their_pool(service: Service) -> None:
    for spec, reserved in (
        ({"family": "ipv4", "prefix": "10.84.0.0/29", "gateway": "10.84.0.1"}, ["10.84.0.2", "10.84.0.6"]),
        ({**SITES, "prefix": "2001:db8:8::/62"}, ["2001:db8:8:1::/64"]),
    ):
        made = service.create("address-pools", {**spec, "name": "kept", "reserved_addresses": reserved})
        path = f"address-pools/{made['address_pool']['id']}"
        assert made["address_pool"]["reserved"] == len(reserved)
        listed = service.read(f"{path}/addresses?state=reserved")["addresses"]
        assert [row["address"] for row in listed] == reserved
        assert service.http.delete(f"/admin/{path}").status_code == 200


def test_a_pool_grows_within_its_subnet(service: Service) -> None:
    spec = {
        "name": "grows",
        "family": "ipv4",
        "first": "10.82.0.10",
        "last": "10.82.0.19",
        "prefix_length": 24,
    }
    made = service.create("address-pools", {**spec, "gateway": "10.82.0.20"})["address_pool"]
    path = f"address-pools/{made['id']}"
    more = service.create(f"{path}/addresses", {"first": "10.82.0.20", "last": "10.82.0.29"})["address_pool"]
    assert (more["first"], more["last"], more["total"]) == ("10.82.0.10", "10.82.0.29", 19)
    assert more["updated_at"] > made["updated_at"]
    assert service.create(f"{path}/addresses", {"first": "10.82.0.5"})["address_pool"]["total"] == 20
    for body, status, field in (
        ({"first": "10.82.0.29", "last": "10.82.0.30"}, 409, "first"),
        ({"first": "10.82.0.20"}, 422, "first"),
        ({"first": "10.82.1.1"}, 422, "first"),
        ({"first": "10.82.0.50", "last": "10.82.1.1"}, 422, "last"),
        ({"first": "10.82.0.50", "last": "10.82.0.49"}, 422, "last"),
        ({"first": "fd00::1"}, 422, "first"),
        ({"first": "x", "surprise": 1}, 422, "surprise"),
    ):
        answered, error = service.refused(f"{path}/addresses", body)
        assert (answered, error["details"][0]["field"]) == (status, field), error
    assert service.read(path)["address_pool"]["total"] == 20
    sites = f"address-pools/{service.ids['sites']}"
    assert service.refused(f"{sites}/addresses", {"first": "2001:db8:100:1::1"})[0] == 422
    prefix = "2001:db8:100:fe::/64"
    assert (
        service.ask(f"{sites}/addresses/{prefix}", {"reserved_for": "x"}, "PATCH")["address"]["address"]
        == prefix
    )
    assert service.ask(f"{sites}/addresses/{prefix}", method="DELETE")["address"]["state"] == "reserved"
    assert service.refused(f"{sites}/addresses/{prefix}", method="DELETE")[0] == 404
    assert (
        service.create(f"{sites}/addresses", {"first": "2001:db8:100:fe::"})["address_pool"]["total"] == 256
    )


def test_a_range_gives_no_server_an_address_that_no_host_can_have(service: Service) -> None:
    whole = {"family": "ipv4", "first": "10.70.0.0", "last": "10.70.0.255", "prefix_length": 24}
    made = service.create("address-pools", {**whole, "name": "whole", "gateway": "10.70.0.1"})["address_pool"]
    assert made["total"] == 253
    listed = service.read(f"address-pools/{made['id']}/addresses?per_page=1&sort=-address")["addresses"]
    assert listed[0]["address"] == "10.70.0.254"
    edge = {"family": "ipv4", "first": "10.71.0.0", "last": "10.71.0.0", "prefix_length": 24, "name": "edge"}
    status, error = service.refused("address-pools", edge)
    assert (status, [detail["field"] for detail in error["details"]]) == (422, ["first"])
    reserved = {
        **whole,
        "first": "10.72.0.0",
        "last": "10.72.0.255",
        "name": "r",
        "reserved_addresses": ["10.72.0.255"],
    }
    status, error = service.refused("address-pools", reserved)
    assert (status, [detail["field"] for detail in error["details"]]) == (422, ["reserved_addresses.0"])
    routed = {**edge, "first": "10.71.0.0", "last": "10.71.0.1", "prefix_length": 31}
    assert service.create("address-pools", routed)["address_pool"]["total"] == 2
    for id_ in (made["id"], service.read("address-pools?name=edge")["address_pools"][0]["id"]):
        service.ask(f"address-pools/{id_}", method="DELETE")
