"""What the service gives to a role and what the role declares are the same."""

import inspect
import uuid
from typing import Any

import pytest
import yaml

from jotunheim.actions.server import build
from jotunheim.ansible import paths, playbooks, variables
from jotunheim.ansible.inventory import SecretReference
from jotunheim.data.server.firewall import FirewallRule
from jotunheim.data.server.spec import Limits
from jotunheim.repositories.peewee.addresses import Address, AddressPool
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.infrastructure import Node, Template
from jotunheim.repositories.peewee.orphans import Orphan
from jotunheim.repositories.peewee.servers import Server
from jotunheim.settings import Settings

NODE = Node(
    name="pve1", host="192.0.2.1", port=8006, token_id="root@pam!t", bridge="vmbr0", vm_storage="vmstore"
)
POOL = AddressPool(family="ipv4", prefix_length=24, gateway="10.0.0.1", vlan=7, nameservers=["10.0.0.2"])
SERVER = Server(
    vmid=1000,
    name="web-1",
    hostname="web-1.example.com",
    cpu=2,
    memory_bytes=2**31,
    disk_bytes=2**33,
    ssh_keys=["ssh-ed25519 AAAA"],
    tags=["web"],
    limits=Limits(rate_bytes_per_second=10**6).model_dump(),
    firewall={"enabled": True, "policy_in": "DROP", "policy_out": "ACCEPT", "rules": []},
    node=NODE,
    template=Template(vmid=9000, default_user="debian"),
)
BACKUP = Backup(id=uuid.uuid4(), vmid=1000, storage="local", volume="local:backup/x", notes="n")
GIVEN: dict[str, dict[str, Any]] = {
    "pve_clone": variables.pve_clone(SERVER, NODE),
    "pve_config": variables.pve_config(
        SERVER, NODE, [Address(address="10.0.0.5", pool=POOL)], password=SecretReference("server/1/password")
    ),
    "pve_drift": variables.pve_drift(Server(suspended_at=now())),
    "pve_firewall": variables.pve_firewall(
        SERVER,
        [Address(address="10.0.0.5", pool=POOL)],
        [FirewallRule(direction="in", action="DROP", comment="no").model_dump(mode="json")],
    ),
    "pve_power": variables.pve_power("shutdown", timeout_seconds=60, force=True),
    "pve_info": variables.pve_info(Settings()),
    "pve_restart": variables.pve_restart("if_needed"),
    "pve_password": variables.pve_password(SERVER, SecretReference("server/1/password"), Settings()),
    "pve_snapshot": variables.pve_snapshot("present", "before", description="d", with_memory=True, limit=2),
    "pve_backup": variables.pve_backup("present", BACKUP, 60),
    "pve_orphan": variables.pve_orphan(
        Orphan(kind="backup", vmid=1000, storage="local", volume="local:backup/x"), ["unknown"]
    ),
    "pve_restore": variables.pve_restore(
        "local:backup/x", "1", stop=True, destroy_snapshots=True, is_unmarked=False, timeout_seconds=60
    ),
    "pve_restore_new": variables.pve_restore_new(SERVER, NODE, "local:backup/x", uuid.uuid4(), 60),
    "pve_delete": variables.pve_delete(SERVER, NODE, purge=True, backups=True),
    "pve_settle": variables.pve_settle(["UPID:pve1:0:0:0:qmstop:1000:root@pam:"], stop=True),
    "pve_adopt": variables.pve_adopt("", ""),
    "pve_rebuild": variables.pve_rebuild(
        SERVER, NODE, scratch_vmid=1001, rebuild_id="1", destroy_snapshots=True
    ),
}
# The roles that are given another role's variables.
SHARES = {"pve_rebuild_clean": "pve_rebuild", "pve_rebuild_abandon": "pve_rebuild"}
# No job runs them: they are for runs by hand.
BY_HAND = {"pve_template"}
# Given beside a role's options, and why: a secret that must not be an argument.
NOT_OPTIONS = {"pve_cloudinit_password"}
KINDS = {"str": str, "int": int, "bool": bool, "list": list, "dict": dict}


def _options(role: str) -> dict[str, Any]:
    specs = yaml.safe_load((paths.ROLES / role / "meta" / "argument_specs.yml").read_text())
    options: dict[str, Any] = specs["argument_specs"]["main"]["options"]
    return options


def test_every_role_of_the_playbooks_has_a_function() -> None:
    plays = [play for file in paths.PLAYBOOKS.glob("*.yml") for play in yaml.safe_load(file.read_text())]
    roles = {entry["role"] for play in plays for entry in play["roles"]}
    functions = {
        name for name, _ in inspect.getmembers(variables, inspect.isfunction) if name.startswith("pve_")
    }
    assert (
        {SHARES.get(role, role) for role in roles - BY_HAND}
        == functions - {"pve_autostart", "pve_device"}
        == set(GIVEN)
    )


def test_a_suspension_sets_what_the_role_declares() -> None:
    assert set(variables.pve_autostart(onboot=False)) <= set(_options("pve_config"))


def test_a_firewall_sets_the_device_as_the_role_declares() -> None:
    given = variables.pve_device(SERVER)
    assert set(given) <= set(_options("pve_config"))
    _check(_options("pve_config"), given)
    assert variables.pve_device(Server(anti_spoofing=False, firewall=None)) == {}


def test_of_a_server_whose_rules_nobody_has_set_only_anti_spoofing_is_set() -> None:
    adopted = Server(anti_spoofing=False, firewall=None)
    assert variables.pve_firewall(adopted, [], []) == {}
    adopted.anti_spoofing = True
    assert variables.pve_firewall(adopted, [Address(address="10.0.0.5", pool=POOL)], []) == {
        "pve_firewall_enabled": True,
        "pve_firewall_mac_filter": True,
        "pve_firewall_ip_filter": True,
        "pve_firewall_addresses": ["10.0.0.5"],
    }


def test_a_change_of_one_field_sets_only_what_belongs_to_it() -> None:
    given = variables.pve_config(SERVER, NODE, [], fields={"memory_bytes"})
    assert given == {"pve_config_memory_bytes": 2**31}
    given = variables.pve_config(SERVER, NODE, [], fields={"ssh_keys"})
    assert given == {"pve_config_cloudinit": {"ssh_keys": ["ssh-ed25519 AAAA"]}}


def test_the_account_follows_the_change_the_template_and_the_system() -> None:
    def account(template: Template, **cloud_init: str) -> str:
        return Server(template=template, cloud_init=cloud_init).account

    linux, windows = Template(os_family="linux"), Template(os_family="windows")
    assert account(Template(os_family="linux", default_user="debian"), user="ops") == "ops"
    assert account(Template(os_family="linux", default_user="debian")) == "debian"
    assert (account(linux), account(windows)) == ("root", "Administrator")


@pytest.mark.parametrize("role", GIVEN)
def test_a_role_declares_what_it_is_given_and_gets_what_it_requires(role: str) -> None:
    options = _options(role)
    given = {name: value for name, value in GIVEN[role].items() if name not in NOT_OPTIONS}
    assert set(given) <= set(options)
    assert {name for name, option in options.items() if option.get("required")} <= set(given)
    _check(options, given)


def _check(options: dict[str, Any], given: dict[str, Any]) -> None:
    for name, value in given.items():
        option = options[name]
        assert isinstance(value, KINDS[option["type"]]), name
        if option.get("choices"):
            chosen = value if isinstance(value, list) else [value]
            assert set(chosen) <= set(option["choices"])
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, dict) and "options" in option:
                assert set(entry) <= set(option["options"])
                _check(option["options"], entry)


def test_a_host_name_outside_of_the_servers_name_becomes_the_vms_name() -> None:
    other = Server(name="web-1", hostname="db.example.com", template=SERVER.template)
    assert variables.pve_clone(other, NODE)["pve_clone_name"] == "db.example.com"
    assert variables.pve_clone(SERVER, NODE)["pve_clone_name"] == "web-1"


def test_a_template_on_another_storage_is_copied_to_the_nodes_own() -> None:
    for storage, copied in (
        (None, {}),
        ("vmstore", {}),
        ("slow", {"pve_clone_full": True, "pve_clone_storage": "vmstore"}),
    ):
        server = Server(name="s", hostname="s", template=Template(vmid=9000, storage=storage))
        given = variables.pve_clone(server, NODE)
        assert {
            name: given[name] for name in given.keys() & {"pve_clone_full", "pve_clone_storage"}
        } == copied


def test_the_steps_of_a_build_are_counted_from_its_roles() -> None:
    assert playbooks.step_count(build.PLAYBOOK) == 5
