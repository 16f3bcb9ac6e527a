"""The inventory plugin, as `ansible-inventory` and `ansible-playbook` use it: from the API and from the database."""

import datetime as dt
import hashlib
import ipaddress
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks.inventory import add_servers
from jotunheim.ansible import paths
from jotunheim.sandbox import tls
from tests.support import people
from tests.support.forwarder import Forwarder
from tests.support.sandbox import Sandbox
from tests.support.service import Service

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0wqEEMq7wLr8XbJ3WYmHyZ8aQ9sYqv3nXhGm0Q4pB"
CONFIG = Path(__file__).parents[2] / "inventory" / "jotunheim.yml"
RECAP = re.compile(r"ok=\d+ +changed=(\d+) +unreachable=0 +failed=0")


@dataclass
class World:
    """A service with servers of two owners, whose names and texts mean no good; nothing builds them."""

    service: Service
    url: str
    marker: Path
    """A file that is there when a template in somebody's text was carried out."""
    owner: int
    owner_token: str
    ids: dict[str, str]

    @property
    def hostile(self) -> str:
        """A text that would make the marker."""
        return "{{ lookup('pipe', 'touch %s') }}" % self.marker  # noqa: UP031 - braces read better


@pytest.fixture(scope="module")
def world(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("inventory")
    with Service.start(folder / "state", worker=False) as service:
        service.add_infrastructure(sandbox, token_secret=sandbox.token_secret)
        owner = people.user(service)
        person = people.person(service, owner["email"])
        token = person.post("auth/tokens", json={"name": "inventory", "scopes": ["servers:read"]})
        assert token.status_code == 201, token.text
        url = str(service.http.base_url).removesuffix("/api/v1/")
        world = World(service, url, folder / "marker", owner["id"], token.json()["secret"], {})

        def make(key: str, name: str, **spec: Any) -> None:
            made = service.create_server(name, **spec)
            world.ids[key] = made["server"]["id"]

        make(
            "web",
            "inv-web",
            hostname="inv-web.example.com",
            labels={"env": "ci", "note": world.hostile},
            external_id=world.hostile,
            ssh_keys=[f"{KEY} {world.hostile}"],
            tags=["blue", "edge"],
            addresses={"ipv4": 1},
        )
        make("db", "inv-db", labels={"env": "prod!", "tier": "db"}, memory_bytes=2**31)
        theirs = {"owner_id": owner["id"]}
        make("theirs", "inv-db", labels={"env": "prod?"}, addresses={"ipv4": 1}, **theirs)
        for name in ("localhost", "127.0.0.1", "all", "large", "bastion"):
            make(name, name, **theirs)
        yield world
        assert not world.marker.exists()


def environment(world: World, **given: str) -> dict[str, str]:
    """Of somebody who has installed Jotunheim, and is at the service's machine."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        "PATH": path,
        "HOME": str(world.marker.parent),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "1",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "0",  # so that one run says what is wrong with each of several
        "JOTUNHEIM_STATE_DIR": str(world.service.state),
        **paths.environment(),
        **given,
    }


def run(world: World, *command: str, **given: str) -> subprocess.CompletedProcess[str]:
    """A finished command."""
    return subprocess.run(
        command, env=environment(world, **given), capture_output=True, text=True, timeout=90, check=False
    )


def inventory(world: World, *sources: Path, **given: str) -> dict[str, Any]:
    """What `ansible-inventory --list` says of sources, which it must understand."""
    options = [part for source in sources for part in ("-i", str(source))]
    done = run(world, "ansible-inventory", *options, "--list", **given)
    assert done.returncode == 0, done.stderr
    assert "Failed to parse" not in done.stderr, done.stderr
    listed: dict[str, Any] = json.loads(done.stdout, object_hook=_unmarked)
    return listed


def _unmarked(value: dict[str, Any]) -> Any:
    """A text that is marked as no template, without the mark."""
    return value["__ansible_unsafe"] if value.keys() == {"__ansible_unsafe"} else value


def configured(folder: Path, name: str = "jotunheim.yml", **options: Any) -> Path:
    """An inventory's file with these options."""
    file = folder / name
    file.write_text(yaml.safe_dump({"plugin": "jotunheim.pve.servers", **options}))
    return file


def hosts_of(listed: Mapping[str, Any], group: str) -> set[str]:
    return set(listed[group]["hosts"])


def test_api_and_database_agree_and_names_are_safe(world: World, sandbox: Sandbox, tmp_path: Path) -> None:
    """Two servers of one name, and names that mean something to Ansible, are told apart by ids."""
    bastion = tmp_path / "a-bastion.yml"
    bastion.write_text("all: {hosts: {bastion: {ansible_host: 192.0.2.77}}}")
    options = {"groups": {"large": "jotunheim_memory_bytes >= 2 * 1024 ** 3"}}
    api = configured(tmp_path, url=world.url, token=world.service.token, **options)
    store = configured(tmp_path, "store.jotunheim.yml", source="database", **options)
    from_api, from_store = inventory(world, bastion, api), inventory(world, bastion, store)

    ids, vars_ = world.ids, from_store["_meta"]["hostvars"]
    renamed = {f"{name}_{ids[name]}" for name in ("localhost", "127.0.0.1", "all", "large", "bastion")}
    twins = {f"inv-db_{ids['db']}", f"inv-db_{ids['theirs']}"}
    assert hosts_of(from_store, "servers") == {"inv-web", *twins, *renamed}
    assert vars_["bastion"]["ansible_host"] == "192.0.2.77"

    groups = {name: each["hosts"] for name, each in from_store.items() if "hosts" in each}
    assert groups == {name: each["hosts"] for name, each in from_api.items() if "hosts" in each}
    everybody = hosts_of(from_store, "servers")
    for group in ("location_test", "node_pve1", "template_debian", "status_building"):
        assert set(groups[group]) == everybody
    assert groups[f"owner_{world.owner}"] == sorted(
        groups[f"owner_{world.owner}"], key=groups["servers"].index
    )
    assert set(groups[f"owner_{world.owner}"]) == renamed | {f"inv-db_{ids['theirs']}"}
    assert groups["label_env_ci"] == ["inv-web"]
    assert set(groups["label_env_prod_"]) == twins
    assert groups["large"] == [f"inv-db_{ids['db']}"]
    assert all(re.fullmatch(r"[A-Za-z0-9_]+", group) for group in groups)

    shown = {name: _without(each, "pve_") for name, each in vars_.items()}
    assert shown == {name: _without(each, "pve_") for name, each in from_api["_meta"]["hostvars"].items()}
    document = world.service.server(ids["web"])
    assert {f"jotunheim_{name}": value for name, value in document.items()} == _without(
        shown["inv-web"], "ansible_"
    )
    assert shown["inv-web"]["ansible_host"] == document["addresses"][0]["address"]
    assert shown[f"localhost_{ids['localhost']}"]["ansible_host"] == f"{ids['localhost']}.invalid"
    identity = {"pve_node": "pve1", "pve_vmid": document["vmid"], "pve_uuid": document["id"]}
    assert identity.items() <= from_api["_meta"]["hostvars"]["inv-web"].items()
    assert identity.items() <= vars_["inv-web"].items()
    everything = json.dumps(from_api) + json.dumps(from_store)
    assert world.service.token not in everything
    assert sandbox.token_secret not in everything
    assert vars_["inv-web"]["pve_api_token_secret"] == "{{ lookup('jotunheim.pve.secret', 'node/1/token') }}"


def _without(variables: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name: value for name, value in variables.items() if not name.startswith(prefix)}


def test_compose_keyed_groups_filters_and_hostnames(world: World, tmp_path: Path) -> None:
    common = {
        "hostnames": ["label:tier", "hostname"],
        "filters": {"label_selector": "env=ci", "power": "unknown", "protected": False},
        "group_by": ["status"],
        "compose": {
            "ansible_user": "'debian'",
            "where": "jotunheim_location.short_code ~ '/' ~ jotunheim_cpu",
        },
        "keyed_groups": [
            {"key": "jotunheim_tags", "prefix": "tag"},
            {"key": "jotunheim_labels", "prefix": "l"},
        ],
        "groups": {"edge": "'edge' in jotunheim_tags", "composed": "where == 'test/1'"},
        "strict": True,
    }
    access = {"url": world.url, "token": "{{ lookup('env', 'OURS') }}"}
    api = configured(tmp_path, **access, **common)
    store = configured(tmp_path, "store.jotunheim.yaml", source="database", **common)
    for source in (api, store):
        listed = inventory(world, source, OURS=world.service.token)
        assert hosts_of(listed, "servers") == {"inv-web.example.com"}
        composed = listed["_meta"]["hostvars"]["inv-web.example.com"]
        assert (composed["ansible_user"], composed["where"]) == ("debian", "test/1")
        made = {name for name, each in listed.items() if "hosts" in each}
        safe = {"servers", "status_building", "tag_blue", "tag_edge", "l_env_ci", "edge", "composed"}
        assert safe < made
        assert {name[:6] for name in made - safe} == {"l_note"}
        assert not [name for name in made if re.search(r"\W", name)]

    common["compose"] = {"broken": "jotunheim_nothing.at_all"}
    done = run(
        world, "ansible-inventory", "-i", str(configured(tmp_path, source="database", **common)), "--list"
    )
    assert done.returncode != 0
    assert "broken" in done.stderr


@pytest.mark.parametrize("source", ["api", "database", "cache"])
def test_what_owners_typed_is_text(world: World, tmp_path: Path, source: str) -> None:
    """Also where it comes from the cache, and where an expression of ours has taken it over."""
    cached = {"cache": True, "cache_plugin": "jsonfile", "cache_connection": str(tmp_path / "cache")}
    options = {"compose": {"copied": "jotunheim_external_id", "key": "jotunheim_ssh_keys[0]"}}
    if source == "database":
        options["source"] = source  # type: ignore[assignment]
    file = configured(tmp_path, **options, **(cached if source == "cache" else {}))
    given = {"JOTUNHEIM_URL": world.url, "JOTUNHEIM_TOKEN": world.service.token}
    play = tmp_path / "play.yml"
    said = "{{ [jotunheim_labels.note, jotunheim_external_id, copied, key] }}"
    play.write_text(
        yaml.safe_dump(
            [{"hosts": "inv-web", "gather_facts": False, "tasks": [{"ansible.builtin.debug": {"msg": said}}]}]
        )
    )
    for _ in range(2 if source == "cache" else 1):
        done = run(world, "ansible-playbook", "-i", str(file), str(play), **given)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count(f"touch {world.marker}") == 4
    assert not world.marker.exists()


def test_a_cached_inventory_makes_no_request_and_is_nobody_elses(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    with Forwarder.start(world.url) as proxy:
        options = {
            "url": proxy.url,
            "cache": True,
            "cache_plugin": "jsonfile",
            "cache_connection": str(folder),
        }
        file = configured(tmp_path, **options)
        first = inventory(world, file, JOTUNHEIM_TOKEN=world.service.token)
        assert [path.partition("?")[0] for path in proxy.paths] == ["/api/v1/admin/servers"]
        assert inventory(world, file, JOTUNHEIM_TOKEN=world.service.token) == first
        assert len(proxy.paths) == 1
        theirs = inventory(world, file, JOTUNHEIM_TOKEN=world.owner_token)
        assert [path.partition("?")[0] for path in proxy.paths[1:]] == [
            "/api/v1/admin/servers",
            "/api/v1/client/servers",
        ]
        assert len(hosts_of(theirs, "servers")) == 6
        asked = len(proxy.paths)
        run(
            world,
            "ansible-inventory",
            "-i",
            str(file),
            "--list",
            "--flush-cache",
            JOTUNHEIM_TOKEN=world.owner_token,
        )
        assert len(proxy.paths) > asked
    kept = [file.read_text() for file in folder.iterdir()]
    assert len(kept) == 2
    for token in (world.service.token, world.owner_token):
        assert not [text for text in kept if token in text or token.removeprefix("jtn_") in text]
        assert hashlib.sha256(token.encode()).hexdigest()[:24] not in "".join(kept)


def test_an_owner_s_token_shows_their_own_servers(world: World, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(world.owner_token + "\n")
    with Forwarder.start(world.url) as proxy:
        file = configured(tmp_path, url=proxy.url, token_file=str(token), api="client")
        # The environment's token is another one's: what stands in the file wins.
        listed = inventory(world, file, JOTUNHEIM_TOKEN=world.service.token)
        assert len(proxy.paths) == 1
    hosts = hosts_of(listed, "servers")
    assert len(hosts) == 6
    assert "inv-db" in hosts
    variables = listed["_meta"]["hostvars"]["inv-db"]
    assert variables["jotunheim_id"] == world.ids["theirs"]
    assert not [
        name for name in variables if name.startswith("pve_") or name.split("_")[1] in ("node", "owner")
    ]
    assert not [group for group in listed if group.startswith(("node_", "owner_"))]


def test_a_long_list_takes_a_request_for_200_servers_and_is_complete(world: World, tmp_path: Path) -> None:
    count = 450
    add_servers(world.service, count, first_vmid=800_000, name="inv-many", labels={"env": "many"})
    filters = {"label_selector": "env=many"}
    answered: list[str] = []

    def one_more_at_first(path: str, body: bytes) -> bytes:
        """As if a server had come after the first page was read."""
        answered.append(path)
        total = f'"total_entries":{count}'
        return body.replace(total.encode(), f"{total}1".encode()) if len(answered) == 3 else body

    with Forwarder.start(world.url) as proxy:
        file = configured(tmp_path, url=proxy.url, token=world.service.token, filters=filters)
        assert len(hosts_of(inventory(world, file), "servers")) == count
        assert len(proxy.paths) == 3
        proxy.changed = one_more_at_first
        assert len(hosts_of(inventory(world, file), "servers")) == count
        assert len(proxy.paths) == 9
    store = configured(tmp_path, "store.jotunheim.yml", source="database", filters=filters)
    assert len(hosts_of(inventory(world, store), "servers")) == count


def test_errors_name_the_option_and_show_no_secret(world: World, tmp_path: Path) -> None:
    """Each in a file of its own, all in one run with all details."""
    identity = tls.load_or_make(_folder(tmp_path / "good"), "127.0.0.1")
    old = _expired(_folder(tmp_path / "old"))
    secret = "jtn_" + "S3cret" * 8
    file = tmp_path / "token"
    file.write_text(f"{secret}\n{secret}")
    foreign = tmp_path / "nothing.yml"
    good = {"token": world.service.token, "url": world.url}
    certificate = (identity.certificate_file, identity.key_file)
    with (
        Forwarder.start(world.url, certificate=certificate) as secure,
        Forwarder.start(world.url, certificate=old) as expired,
        Forwarder.start(world.url) as page,
    ):
        page.changed = lambda *_: b"<html>Welcome</html>"
        cases: dict[str, tuple[str, dict[str, Any]]] = {
            "wrong": ("token: .*does not take it", {**good, "token": secret}),
            "lines": ("token: holds characters", {"url": world.url, "token_file": str(file)}),
            "lost": ("token_file: .*cannot be read", {"url": world.url, "token_file": str(foreign)}),
            "both": ("token_file: is given beside token", {**good, "token_file": str(file)}),
            "none": ("token: is not set", {"url": world.url}),
            "broken": ("token: its template", {"url": world.url, "token": f"{{{{ '{secret}' | nothing }}}}"}),
            "list": ("token: must be a text", {"url": world.url, "token": [secret]}),
            "away": ("url: no answer from", {**good, "url": "http://127.0.0.1:9"}),
            "userinfo": ("url: must have no user", {**good, "url": f"http://me:{secret}@127.0.0.1"}),
            "scheme": ("url: must be a URL", {**good, "url": "ftp://127.0.0.1"}),
            "page": ("url: .*not as Jotunheim's API does", {**good, "url": page.url}),
            "unknown": ("ca_file: the certificate of", {**good, "url": secure.url}),
            "expired": (
                "ca_file: the certificate of .*expired",
                {**good, "url": expired.url, "ca_file": str(old[0])},
            ),
            "pinned": (
                "fingerprint: the certificate of",
                {**good, "url": secure.url, "fingerprint": "00" * 32},
            ),
            "digits": ("fingerprint: must be a SHA-256", {**good, "url": secure.url, "fingerprint": "AB:CD"}),
            "pem": ("ca_file: .*cannot be used", {**good, "url": secure.url, "ca_file": str(file)}),
            "filter": ("filters: status: ", {**good, "filters": {"status": "sleeping"}}),
            "field": ("filters: page: ", {**good, "filters": {"page": 2}}),
            "stored": ("filters: owner_id: ", {"source": "database", "filters": {"owner_id": "x"}}),
            "labels": (
                "filters: label_selector: ",
                {"source": "database", "filters": {"label_selector": "a"}},
            ),
            "names": ("hostnames: ", {**good, "hostnames": ["colour"]}),
        }
        sources = [
            part
            for name, (_, options) in cases.items()
            for part in ("-i", str(configured(tmp_path, f"{name}.jotunheim.yml", **options)))
        ]
        done = run(world, "ansible-inventory", *sources, "--list", "-vvv")
        assert done.returncode != 0
        said = done.stdout + done.stderr
        for name, (message, _) in cases.items():
            assert re.search(message, said), f"{name}: {message}\n{said}"
        for hidden in (secret, world.service.token):
            assert hidden not in said

        right = configured(tmp_path, **good | {"url": secure.url}, ca_file=str(identity.ca_file))
        assert "inv-web" in inventory(world, right)["servers"]["hosts"]
        pin = configured(tmp_path, **good | {"url": expired.url}, fingerprint=_digest(old[0]))
        assert "inv-web" in inventory(world, pin)["servers"]["hosts"]
    gone = run(
        world, "ansible-inventory", "-i", str(CONFIG), "--list", JOTUNHEIM_STATE_DIR=str(tmp_path / "nowhere")
    )
    assert gone.returncode != 0
    assert "source: There is no database" in gone.stderr
    assert not (tmp_path / "nowhere").exists()


def test_the_playbooks_work_by_hand_with_the_shipped_inventory(world: World, sandbox: Sandbox) -> None:
    """A server that no job has built is built by hand, is then in sync, and takes what is recorded later."""

    def play(name: str, *options: str) -> str:
        playbook = str(paths.PLAYBOOKS / f"{name}.yml")
        done = run(world, "ansible-playbook", "-i", str(CONFIG), playbook, "--limit", "inv-web", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        assert sandbox.token_secret not in done.stdout + done.stderr
        found = RECAP.search(done.stdout)
        assert found, done.stdout
        return found[1]

    assert int(play("server_build")) > 0
    with sqlite3.connect(world.service.state / "jotunheim.db", timeout=30) as store:
        store.execute("UPDATE server SET status = 'ready', power = 'running' WHERE name = 'inv-web'")
        store.execute("UPDATE server SET memory_bytes = ? WHERE name = 'inv-web'", (2**31,))
    assert play("server_configure", "--check", "--diff", "-vvv") == "1"
    assert play("server_configure") == "1"
    assert play("server_drift") == "0"


def test_the_plugin_is_documented(world: World) -> None:
    done = run(world, "ansible-doc", "-t", "inventory", "jotunheim.pve.servers")
    assert done.returncode == 0, done.stderr
    for option in ("source", "token_file", "fingerprint", "hostnames", "keyed_groups", "cache_plugin"):
        assert re.search(rf"^[-= ]+{option}\b", done.stdout, re.MULTILINE), option


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _digest(certificate: Path) -> str:
    return x509.load_pem_x509_certificate(certificate.read_bytes()).fingerprint(hashes.SHA256()).hex(":")


def _expired(folder: Path) -> tuple[Path, Path]:
    """Files of a certificate of 127.0.0.1 whose time is over, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now - dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, private
