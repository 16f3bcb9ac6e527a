"""`jotunheim pool …`: the addresses that servers are given."""

from enum import StrEnum
from typing import Annotated
from urllib.parse import quote

import typer

from jotunheim.cli.options import Json, Sort, either, given, or_null, parse_duration
from jotunheim.cli.output import Columns, local_time, print_record, print_rows

app = typer.Typer(no_args_is_help=True, help="Address pools: the addresses that servers are given.")


class Family(StrEnum):
    """The kind of addresses."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


class State(StrEnum):
    """Whether servers can get an address, and if not, why."""

    FREE = "free"
    ALLOCATED = "allocated"
    RESERVED = "reserved"
    QUARANTINED = "quarantined"


COLUMNS: Columns = {
    "id": lambda pool: pool["id"],
    "name": lambda pool: pool["name"],
    "family": lambda pool: pool["family"],
    "first": lambda pool: f"{pool['first']}/{pool['prefix_length']}",
    "last": lambda pool: pool["last"],
    "gateway": lambda pool: pool["gateway"],
    "vlan": lambda pool: pool["vlan"],
    "nameservers": lambda pool: pool["nameservers"] or None,
    "nodes": lambda pool: pool["node_ids"] or "all",
    "delegates": lambda pool: pool["delegated_prefix_length"] and f"/{pool['delegated_prefix_length']}",
    "mac": lambda pool: pool["mac_prefix"],
    "free": lambda pool: f"{pool['free']} of {pool['total']}",
    "reserved": lambda pool: pool["reserved"],
    "quarantine": lambda pool: (
        f"{pool['quarantined']} for {pool['quarantine_seconds']} s"
        if pool["quarantine_seconds"] or pool["quarantined"]
        else None
    ),
}
ADDRESS_COLUMNS: Columns = {
    "address": lambda address: address["address"],
    "state": lambda address: address["state"],
    "server": lambda address: address["server_id"],
    "reserved for": lambda address: address["reserved_for"],
    "quarantined until": lambda address: local_time(address["quarantined_until"]),
}
PoolArgument = Annotated[str, typer.Argument(metavar="ID|NAME")]
_OPTIONS = {
    "name": "NAME",
    "family": "--family",
    "first": "--first",
    "last": "--last",
    "prefix": "--prefix",
    "prefix_length": "--prefix-length",
    "gateway": "--gateway",
    "vlan": "--vlan",
    "nameservers": "--nameserver",
    "node_ids": "--node",
    "mac_prefix": "--mac-prefix",
    "quarantine_seconds": "--quarantine",
    "delegated_prefix_length": "--delegate",
    "reserved_addresses": "--reserve",
}
MacPrefixOption = Annotated[
    str | None,
    typer.Option("--mac-prefix", metavar="OCTETS", help="How new servers' MAC addresses begin: 02:00:5E."),
]
QuarantineOption = Annotated[
    int | None,
    typer.Option(
        "--quarantine",
        parser=parse_duration,
        metavar="DURATION",
        help="How long an address that was given back goes to no other server: 90s, 30m, 2h, 7d.",
    ),
]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    prefix: Annotated[
        str | None, typer.Option(metavar="NETWORK", help="All usable addresses of it, e.g. 10.0.0.0/24.")
    ] = None,
    first: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Instead of a prefix: from …")] = None,
    last: Annotated[str | None, typer.Option(metavar="ADDRESS", help="… up to, …")] = None,
    prefix_length: Annotated[
        int | None, typer.Option(metavar="BITS", help="… in a subnet with this prefix length.")
    ] = None,
    family: Annotated[Family, typer.Option(help="The kind of addresses.")] = Family.IPV4,
    gateway: Annotated[str | None, typer.Option(metavar="ADDRESS", help="The subnet's router.")] = None,
    vlan: Annotated[int | None, typer.Option(metavar="TAG", help="VLAN of the subnet.")] = None,
    nameserver: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="For the guests; repeatable.")
    ] = None,
    node: Annotated[
        list[str] | None,
        typer.Option(metavar="ID|NAME", help="A node that the pool serves; repeatable, by default all."),
    ] = None,
    mac_prefix: MacPrefixOption = None,
    quarantine: QuarantineOption = None,
    delegate: Annotated[
        int | None,
        typer.Option(metavar="BITS", help="Give whole IPv6 prefixes of this length instead of addresses."),
    ] = None,
    reserve: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="One that no server gets; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Add an address pool, as a prefix or as a range."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id

    with Api.from_environment() as api:
        body = {
            "name": name,
            "family": family.value,
            "prefix": prefix,
            "first": first,
            "last": last,
            "prefix_length": prefix_length,
            "gateway": gateway,
            "vlan": vlan,
            "nameservers": nameserver or [],
            "node_ids": [node_id(api, reference) for reference in node or []],
            "mac_prefix": mac_prefix,
            "quarantine_seconds": quarantine or 0,
            "delegated_prefix_length": delegate,
            "reserved_addresses": reserve or [],
        }
        answer = api.post("/address-pools", body, _OPTIONS)
    print_record("address_pool", answer["address_pool"], COLUMNS, as_json=as_json)


@app.command("list")
def list_(
    family: Annotated[Family | None, typer.Option(help="Only pools of these addresses.")] = None,
    node: Annotated[str | None, typer.Option(metavar="ID|NAME", help="Only pools that serve it.")] = None,
    sort: Sort = None,
    as_json: Json = False,
) -> None:
    """List the address pools with what is free."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id

    with Api.from_environment() as api:
        pools = api.all(
            "/address-pools",
            "address_pools",
            family=family.value if family else None,
            node_id=node_id(api, node) if node else None,
            sort=sort,
        )
    print_rows("address_pools", pools, COLUMNS, as_json=as_json)


@app.command()
def change(
    pool: PoolArgument,
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    gateway: Annotated[str | None, typer.Option(metavar="ADDRESS", help="The subnet's router.")] = None,
    no_gateway: Annotated[bool, typer.Option("--no-gateway", help="No router.")] = False,
    vlan: Annotated[int | None, typer.Option(metavar="TAG", help="VLAN of the subnet.")] = None,
    no_vlan: Annotated[bool, typer.Option("--no-vlan", help="Untagged.")] = False,
    nameserver: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="All nameservers; repeatable.")
    ] = None,
    no_nameservers: Annotated[bool, typer.Option("--no-nameservers", help="None.")] = False,
    node: Annotated[
        list[str] | None, typer.Option(metavar="ID|NAME", help="All nodes that it serves; repeatable.")
    ] = None,
    all_nodes: Annotated[bool, typer.Option("--all-nodes", help="It serves every node.")] = False,
    mac_prefix: MacPrefixOption = None,
    no_mac_prefix: Annotated[
        bool, typer.Option("--no-mac-prefix", help="Proxmox VE chooses MAC addresses.")
    ] = False,
    quarantine: QuarantineOption = None,
    as_json: Json = False,
) -> None:
    """Change an address pool; servers get it when they are configured next."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import node_id, pool_id

    body = given({"name": name, "quarantine_seconds": quarantine}) | {
        **or_null("mac_prefix", mac_prefix, "--mac-prefix", no_mac_prefix, "--no-mac-prefix"),
        **or_null("gateway", gateway, "--gateway", no_gateway, "--no-gateway"),
        **or_null("vlan", vlan, "--vlan", no_vlan, "--no-vlan"),
        **given({"nameservers": either(nameserver, "--nameserver", no_nameservers, "--no-nameservers")}),
    }
    nodes = either(node, "--node", all_nodes, "--all-nodes")
    with Api.from_environment() as api:
        if nodes is not None:
            body["node_ids"] = [node_id(api, reference) for reference in nodes]
        answer = api.patch(f"/address-pools/{pool_id(api, pool)}", body, {**_OPTIONS, "name": "--name"})
    print_record("address_pool", answer["address_pool"], COLUMNS, as_json=as_json)


@app.command()
def delete(pool: PoolArgument, as_json: Json = False) -> None:
    """Delete an address pool that no server has an address of."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import pool_id

    with Api.from_environment() as api:
        answer = api.delete(f"/address-pools/{pool_id(api, pool)}")
    print_record("address_pool", answer["address_pool"], COLUMNS, as_json=as_json)


@app.command()
def extend(
    pool: PoolArgument,
    first: Annotated[str, typer.Argument(metavar="FIRST", help="From this address …")],
    last: Annotated[str | None, typer.Argument(metavar="[LAST]", help="… up to this one.")] = None,
    as_json: Json = False,
) -> None:
    """Give an address pool more addresses of its subnet."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import pool_id

    with Api.from_environment() as api:
        path = f"/address-pools/{pool_id(api, pool)}/addresses"
        answer = api.post(path, given({"first": first, "last": last}), {"first": "FIRST", "last": "LAST"})
    print_record("address_pool", answer["address_pool"], COLUMNS, as_json=as_json)


@app.command()
def addresses(
    pool: PoolArgument,
    state: Annotated[State | None, typer.Option(help="Only addresses in this state.")] = None,
    server: Annotated[
        str | None, typer.Option(metavar="ID|NAME", help="Only addresses of this server.")
    ] = None,
    sort: Sort = None,
    as_json: Json = False,
) -> None:
    """List the addresses of a pool, with who has them."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import pool_id, server_id

    with Api.from_environment() as api:
        found = api.all(
            f"/address-pools/{pool_id(api, pool)}/addresses",
            "addresses",
            state=state.value if state else None,
            server_id=server_id(api, server) if server else None,
            sort=sort,
        )
    print_rows("addresses", found, ADDRESS_COLUMNS, as_json=as_json)


@app.command()
def reserve(
    pool: PoolArgument,
    address: Annotated[str, typer.Argument(help="One of the pool's.")],
    reserved_for: Annotated[
        str | None, typer.Option("--for", metavar="TEXT", help="What it is kept for.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Servers can get it again.")] = False,
    as_json: Json = False,
) -> None:
    """Keep an address for something else: servers do not get it."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import pool_id

    body = or_null("reserved_for", reserved_for, "--for", undo, "--undo")
    if not body:
        raise typer.BadParameter("say what it is kept for, or --undo.", param_hint="--for")
    with Api.from_environment() as api:
        path = f"/address-pools/{pool_id(api, pool)}/addresses/{quote(address, safe='')}"
        answer = api.patch(path, body, {"reserved_for": "--for", "address": "ADDRESS"})
    print_record("address", answer["address"], ADDRESS_COLUMNS, as_json=as_json)


@app.command()
def release(
    pool: PoolArgument,
    address: Annotated[str, typer.Argument(help="One in quarantine.")],
    as_json: Json = False,
) -> None:
    """End an address's quarantine: any server can get it."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import pool_id

    with Api.from_environment() as api:
        path = f"/address-pools/{pool_id(api, pool)}/addresses/{quote(address, safe='')}"
        answer = api.patch(path, {"quarantined_until": None}, {"address": "ADDRESS"})
    print_record("address", answer["address"], ADDRESS_COLUMNS, as_json=as_json)


@app.command()
def remove(
    pool: PoolArgument,
    address: Annotated[str, typer.Argument(help="One that no server has.")],
    as_json: Json = False,
) -> None:
    """Take an address out of a pool."""
    from jotunheim.cli.client import Api
    from jotunheim.cli.references import pool_id

    with Api.from_environment() as api:
        path = f"/address-pools/{pool_id(api, pool)}/addresses/{quote(address, safe='')}"
        answer = api.delete(path, options={"address": "ADDRESS"})
    print_record("address", answer["address"], ADDRESS_COLUMNS, as_json=as_json)
