"""Which node a server goes to, and that no node gets more than it has. Nothing is built: what counts is what is reserved."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.end_to_end.cluster import GIB, MIB, Cluster


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster.start(tmp_path_factory.mktemp("cluster"), worker=False) as started:
        yield started


@pytest.fixture
def cluster(standing: Cluster) -> Iterator[Cluster]:
    """Two nodes of 8 GiB of memory each, and 100 GiB that they share for disks; only the templates are on them."""
    resize(standing, memory=8 * GIB, disk=100 * GIB)
    yield standing
    withdraw_all(standing)


def resize(cluster: Cluster, *, memory: int, disk: int, **options: Any) -> None:
    """Set how much there is, and add the nodes anew, so that it is known."""
    cluster.remove_nodes()
    cluster.sandbox.control.patch("/storages/shared", json={"total": disk}).raise_for_status()
    for name in cluster.sandbox.nodes:
        cluster.set_node(name, memory=memory)
    cluster.add_nodes(**options)


def withdraw_all(cluster: Cluster) -> None:
    """Call off all builds; none has begun."""
    while found := cluster.service.read("servers?per_page=200")["servers"]:
        for server in found:
            cluster.service.ask(f"jobs/{server['job_id']}/cancel", {"on_cancel": "cleanup"})


def node_of(created: dict[str, Any]) -> str:
    return str(created["server"]["node"]["name"])


def other(name: str) -> str:
    return "pve2" if name == "pve1" else "pve1"


def refused(cluster: Cluster, name: str, **spec: Any) -> tuple[str, dict[str, str]]:
    """Code and details by field of a server that no node can take."""
    wanted = {"name": name, "template_group_id": cluster.group, **spec}
    code, error = cluster.service.refused("servers", wanted)
    assert code == {"placement_error": 409, "invalid_input": 422}[error["code"]]
    return error["code"], {detail["field"]: detail["message"] for detail in error["details"]}


def test_servers_are_spread_unless_the_location_says_pack(cluster: Cluster) -> None:
    spread = Counter(node_of(cluster.create(f"spread-{number}")) for number in range(4))
    assert spread == {"pve1": 2, "pve2": 2}
    location = f"locations/{cluster.service.ids['location']}"
    cluster.service.ask(location, {"placement_policy": "pack"}, "PATCH")
    packed = [node_of(cluster.create(f"pack-{number}")) for number in range(8)]
    assert packed == [packed[0]] * 6 + [other(packed[0])] * 2
    cluster.service.ask(location, {"placement_policy": None}, "PATCH")


def test_memory_is_given_away_once_and_an_error_says_of_each_node_why_not(cluster: Cluster) -> None:
    assert node_of(cluster.create("most", memory_bytes=6 * GIB)) == "pve1"
    assert node_of(cluster.create("as-much", memory_bytes=6 * GIB)) == "pve2"
    code, details = refused(cluster, "too-much", memory_bytes=3 * GIB)
    assert (code, set(details)) == ("placement_error", {"pve1", "pve2"})
    assert details["pve1"] == f"has {2 * GIB} bytes of memory left, and {3 * GIB} are needed"
    cluster.change_node("pve2", memory_overcommit=1.25)
    assert node_of(cluster.create("over", memory_bytes=3 * GIB)) == "pve2"
    state = cluster.node("pve2")["state"]
    assert (state["memory_reserved_bytes"], state["memory_available_bytes"]) == (9 * GIB, 1 * GIB)


def test_a_storage_that_nodes_share_is_given_away_once(cluster: Cluster) -> None:
    there = cluster.node("pve1")["state"]
    template = 2 * GIB + 4 * MIB  # pve2's, with its cloud-init drive
    assert (there["disk_bytes"], there["disk_reserved_bytes"]) == (100 * GIB, template)
    assert node_of(cluster.create("large", disk_bytes=50 * GIB)) == "pve1"
    left = 50 * GIB - template
    code, details = refused(cluster, "larger", disk_bytes=50 * GIB)
    assert code == "placement_error"
    assert details["pve2"] == f"has {left} bytes of disk space left, and {50 * GIB} are needed"
    assert cluster.create("fits", disk_bytes=left)
    assert refused(cluster, "nothing-left")[0] == "placement_error"


def test_a_full_storage_takes_nothing_though_nothing_is_reserved(cluster: Cluster) -> None:
    full = {"total": 100 * GIB, "other_used": 90 * GIB}
    cluster.sandbox.control.patch("/storages/shared", json=full).raise_for_status()
    cluster.remove_nodes()
    cluster.add_nodes()
    code, details = refused(cluster, "nowhere", disk_bytes=20 * GIB)
    assert (code, set(details)) == ("placement_error", {"pve1", "pve2"})
    cluster.sandbox.control.patch("/storages/shared", json={"other_used": 0}).raise_for_status()


def test_what_others_run_on_a_node_counts(cluster: Cluster) -> None:
    cluster.task("POST", "/nodes/pve1/qemu", vmid=500, name="theirs", memory=7 * 1024)
    cluster.task("POST", "/nodes/pve1/qemu/500/status/start")
    cluster.remove_nodes()
    cluster.add_nodes()
    assert node_of(cluster.create("beside", memory_bytes=2 * GIB)) == "pve2"
    assert (
        refused(cluster, "on-it", memory_bytes=2 * GIB, node_id=cluster.nodes["pve1"])[0] == "placement_error"
    )
    cluster.task("POST", "/nodes/pve1/qemu/500/status/stop")
    cluster.task("DELETE", "/nodes/pve1/qemu/500")


def test_labels_and_drain_are_obeyed(cluster: Cluster) -> None:
    assert node_of(cluster.create("labelled", node_labels={"rack": "pve2"})) == "pve2"
    code, details = refused(cluster, "unlabelled", node_labels={"rack": "pve2", "disk": "nvme"})
    assert (code, details["pve2"]) == ("placement_error", "has not the labels disk=nvme")
    assert details["pve1"] == "has not the labels rack=pve2, disk=nvme"
    cluster.service.ask(f"nodes/{cluster.nodes['pve1']}/drain")
    assert {node_of(cluster.create(f"drained-{number}")) for number in range(3)} == {"pve2"}
    cluster.service.ask(f"nodes/{cluster.nodes['pve2']}/drain")
    assert set(refused(cluster, "both-drained")[1].values()) == {"is drained: it takes no new servers"}


def test_a_template_of_a_group_stands_for_the_group_unless_a_node_is_named(cluster: Cluster) -> None:
    spec = {"template_id": cluster.templates["pve1"]}
    made = [cluster.service.create("servers", {"name": f"any-{number}", **spec}) for number in range(2)]
    assert {node_of(server) for server in made} == {"pve1", "pve2"}
    templates = {server["server"]["node"]["name"]: server["server"]["template"]["id"] for server in made}
    assert templates == cluster.templates
    there = {"name": "there", "node_id": cluster.nodes["pve1"], **spec}
    assert node_of(cluster.service.create("servers", there)) == "pve1"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"template_group_id": None}, "template_id"),
        ({"template_id": 1}, "template_id"),
        ({"template_group_id": 999}, "template_group_id"),
        ({"node_id": 999}, "node_id"),
        ({"location_id": 999}, "location_id"),
        ({"disk_bytes": GIB}, "disk_bytes"),
        ({"node_labels": {"-": "x"}}, "node_labels.-"),
        ({"node_labels": {"rack": "{{ lookup('pipe','id') }}\n"}}, "node_labels.rack"),
    ],
)
def test_a_spec_that_contradicts_itself_names_the_field(
    cluster: Cluster, spec: dict[str, Any], field: str
) -> None:
    code, details = refused(cluster, "contradicts", **spec)
    assert (code, set(details)) == ("invalid_input", {field})


def test_minimum_sizes_hold_for_group_and_template(cluster: Cluster) -> None:
    cluster.service.ask(f"template-groups/{cluster.group}", {"minimum_memory_bytes": GIB}, "PATCH")
    assert refused(cluster, "small", memory_bytes=GIB // 2) == (
        "invalid_input",
        {"memory_bytes": f"must be at least {GIB}, as the template says"},
    )
    template = f"templates/{cluster.templates['pve1']}"
    cluster.service.ask(template, {"minimum_memory_bytes": 3 * GIB}, "PATCH")
    assert node_of(cluster.create("medium", memory_bytes=2 * GIB)) == "pve2"
    cluster.service.ask(f"template-groups/{cluster.group}", {"minimum_memory_bytes": None}, "PATCH")


def test_a_node_without_free_addresses_is_passed_over(cluster: Cluster) -> None:
    pool = {
        "name": "small",
        "family": "ipv4",
        "prefix": "10.77.0.0/30",
        "node_ids": [cluster.nodes["pve2"]],
    }
    made = cluster.service.create("address-pools", pool)["address_pool"]
    assert {node_of(cluster.create(f"addressed-{number}", addresses={"ipv4": 1})) for number in range(2)} == {
        "pve2"
    }
    code, details = refused(cluster, "no-address", addresses={"ipv4": 1})
    assert (code, set(details)) == ("placement_error", {"pve1", "pve2"})
    assert all("ipv4" in said for said in details.values())
    code, details = refused(cluster, "taken", addresses={"explicit": ["10.77.0.1"]})
    assert code == "placement_error"
    assert "no pool of node pve1 has it" in details["pve1"]
    assert "is an address of server" in details["pve2"]
    code, details = refused(cluster, "nobodys", addresses={"explicit": ["10.99.9.9"]})
    assert (code, set(details)) == ("invalid_input", {"addresses.explicit.0"})
    withdraw_all(cluster)
    named = cluster.create("named", addresses={"explicit": ["10.77.0.2"]})
    assert (node_of(named), named["server"]["addresses"][0]["address"]) == ("pve2", "10.77.0.2")
    withdraw_all(cluster)
    cluster.service.ask(f"address-pools/{made['id']}", method="DELETE")


@pytest.mark.parametrize("asked", [60])
def test_parallel_requests_never_oversubscribe(cluster: Cluster, asked: int) -> None:
    def ask(number: int) -> tuple[int, str]:
        spec = {"name": f"at-once-{number}", "template_group_id": cluster.group, "memory_bytes": GIB // 2}
        answer = cluster.service.http.post("/admin/servers", json=spec)
        return answer.status_code, answer.json().get("error", {}).get("code", "")

    with ThreadPoolExecutor(16) as pool:
        answers = Counter(pool.map(ask, range(asked)))
    assert answers == {(202, ""): 32, (409, "placement_error"): asked - 32}
    for name in cluster.nodes:
        state = cluster.node(name)["state"]
        assert (state["servers"], state["memory_available_bytes"]) == (16, 0)


def test_a_refused_server_leaves_nothing(cluster: Cluster) -> None:
    before = cluster.service.read("jobs")["meta"]["pagination"]["total_entries"]
    refused(cluster, "refused", memory_bytes=100 * GIB, addresses={"ipv4": 0})
    assert cluster.service.read("jobs")["meta"]["pagination"]["total_entries"] == before
    assert cluster.service.read("servers")["servers"] == []
    assert node_of(cluster.create("refused")) == "pve1"
