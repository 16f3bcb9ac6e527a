"""What inventories of runs by hand are read from, on either database."""

import threading
import uuid
from datetime import timedelta

import pytest

from jotunheim.actions.server import configure
from jotunheim.ansible import asserted, recorded
from jotunheim.exceptions.model import DataValidationError
from jotunheim.repositories.peewee import database
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.addresses import Address, AddressPool
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.firewalls import Ruleset, ServerRuleset
from jotunheim.repositories.peewee.infrastructure import Location, Node, Template
from jotunheim.repositories.peewee.labels import Label
from jotunheim.repositories.peewee.servers import OPEN_FIREWALL, Server
from jotunheim.settings import Settings

RULE = {"direction": "in", "action": "DROP", "comment": ""}


def made() -> dict[str, Server]:
    """Servers: one with all that can be, an imported one, and one that is not built yet."""
    location = Location.create(name="Frankfurt", short_code="fra1")
    node = Node.create(
        name="pve1",
        location=location,
        host="192.0.2.1",
        port=8006,
        token_id="root@pam!t",
        bridge="vmbr0",
        memory_overcommit=1.0,
        disk_overcommit=1.0,
        max_concurrent_clones=2,
        **dict.fromkeys(("vm_storage", "backup_storage", "iso_storage"), "local"),
    )
    template = Template.create(name="debian", node=node, vmid=9000, default_user="debian", os_family="linux")
    owner = User.create(email="a@example.com", name="A", role="client")

    def server(name: str, vmid: int, **columns: object) -> Server:
        given = {"template": template, "status": "ready", **columns}
        return Server.create(
            id=uuid.uuid4(),
            name=name,
            hostname=name,
            vmid=vmid,
            owner=owner,
            node=node,
            cpu=1,
            memory_bytes=2**30,
            force_insert=True,
            **given,
        )

    servers = {
        "full": server("full", 1000, firewall={**OPEN_FIREWALL, "enabled": True}, disk_bytes=2**33),
        "imported": server("imported", 1001, template=None, imported=True, firewall=None),
        "unbuilt": server("unbuilt", 1002, status="building", disk_bytes=2**33),
    }
    for family, first in (("ipv6", "2001:db8::5"), ("ipv4", "10.0.0.9"), ("ipv4", "10.0.0.5")):
        pool = AddressPool.get_or_none(AddressPool.family == family) or AddressPool.create(
            name=family, family=family, prefix_length=24 if family == "ipv4" else 64
        )
        at = now() - timedelta(days=1 if first == "10.0.0.9" else 2)
        held = {"server": servers["full"], "allocated_at": at}
        Address.create(pool=pool, address=first, sort_key=first, **held)
    rulesets = [Ruleset.create(name=name, rules=[{**RULE, "comment": name}]) for name in ("one", "two")]
    for position, ruleset in enumerate(reversed(rulesets)):
        ServerRuleset.create(server=servers["full"], ruleset=ruleset, position=position)
    Label.attach(servers["full"], {"env": "ci"})
    return servers


def test_servers_are_read_with_what_jobs_are_given(
    either_store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "SERVERS_AT_ONCE", 2)
    servers = made()
    found = {each.shown["name"]: each for each in recorded.read({}, either_store)}
    assert list(found) == ["full", "imported", "unbuilt"]
    assert [each.shown["id"] for each in found.values()] == [str(row.id) for row in servers.values()]

    full = found["full"]
    assert full.shown["labels"] == {"env": "ci"}
    assert full.shown["location"]["short_code"] == "fra1"
    assert [one["address"] for one in full.shown["addresses"]] == ["10.0.0.5", "10.0.0.9", "2001:db8::5"]
    assert [rule["comment"] for rule in full.variables["pve_firewall_rules"]] == ["two", "one"]
    assert "pve_config_disk" not in full.variables
    assert not [name for name in full.variables if name.startswith("pve_clone")]
    assert found["unbuilt"].variables["pve_config_disk"] == {"size_bytes": 2**33}
    assert found["unbuilt"].variables["pve_clone_template_vmid"] == 9000
    imported = found["imported"].variables
    assert {name for name in imported if name.startswith(("pve_config", "pve_firewall"))} == {
        "pve_config_cores",
        "pve_config_memory_bytes",
        "pve_config_tags",
        "pve_config_description",
        "pve_config_iso",
        "pve_config_networks",
        "pve_firewall_enabled",
        "pve_firewall_mac_filter",
        "pve_firewall_ip_filter",
    }


def test_filters_are_those_of_the_list(either_store: Settings) -> None:
    made()

    def names(**filters: str) -> list[str]:
        return [each.shown["name"] for each in recorded.read(filters, either_store)]

    location = Location.get()
    assert names(label_selector="env=ci") == ["full"]
    assert names(location_id=str(location.id), status="building") == ["unbuilt"]
    assert names(location_id=str(location.id + 1)) == []
    assert names(suspended="false", vmid="1001") == ["imported"]
    for bad in ({"colour": "red"}, {"status": "asleep"}, {"label_selector": "env"}):
        with pytest.raises(DataValidationError) as error:
            names(**bad)
        assert [problem.field for problem in error.value.problems] == list(bad)


def test_a_snapshot_is_one_moment_and_keeps_nobody_from_writing(either_store: Settings) -> None:
    made()

    def write() -> None:
        Server.update(cpu=7).where(Server.name == "full").execute()
        database.let_go()

    with database.snapshot():
        assert Server.get(Server.name == "full").cpu == 1
        writer = threading.Thread(target=write)
        writer.start()
        writer.join(10)
        assert not writer.is_alive()
        assert Server.get(Server.name == "full").cpu == 1
    assert Server.get(Server.name == "full").cpu == 7


def test_all_fields_of_a_change_are_asserted_but_a_disk_s_size() -> None:
    assert asserted.ALL - {"onboot"} == configure.SETTINGS.keys() - {"disk_bytes"}
