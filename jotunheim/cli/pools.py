"""`jotunheim pool …`: the addresses that servers are given."""

from enum import StrEnum
from typing import Annotated

import typer

from jotunheim.cli.options import Json
from jotunheim.cli.output import Columns, print_record, print_rows

app = typer.Typer(no_args_is_help=True, help="Address pools: the addresses that servers are given.")


class Family(StrEnum):
    """The kind of addresses."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


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
    "free": lambda pool: f"{pool['free']} of {pool['total']}",
}
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
}


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
        }
        answer = api.post("/address-pools", body, _OPTIONS)
    print_record("address_pool", answer["address_pool"], COLUMNS, as_json=as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the address pools with what is free."""
    from jotunheim.cli.client import Api

    with Api.from_environment() as api:
        pools = api.all("/address-pools", "address_pools")
    print_rows("address_pools", pools, COLUMNS, as_json=as_json)
