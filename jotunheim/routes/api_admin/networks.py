"""Address pools and their addresses."""

from jotunheim.data.answers import AddressAnswer, AddressList, AddressPoolAnswer, AddressPoolList
from jotunheim.data.node.change import AddressChange, AddressPoolChange
from jotunheim.data.node.spec import AddressPoolSpec, AddressRangeSpec
from jotunheim.routes.call import Call, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import AddressListQuery, AddressPoolListQuery
from jotunheim.services.networks import addresses, pools
from jotunheim.services.resources import assert_no_version

operations = Operations("/admin", role="admin")


@operations.get("/address-pools", scope="nodes:read", answer=AddressPoolList, query=AddressPoolListQuery)
def list_address_pools(call: Call[None, AddressPoolListQuery]) -> Reply:
    """List address pools with their free counts."""
    found = pools.list_pools(call.query.wanted_page(), call.query.filters())
    return Reply(AddressPoolList.model_validate({"address_pools": found.items, "meta": found.meta()}))


@operations.post(
    "/address-pools", scope="nodes:write", body=AddressPoolSpec, answer=AddressPoolAnswer, status=201
)
def create_address_pool(call: Call[AddressPoolSpec, NoQuery]) -> Reply:
    """Add an address pool, as a range or as a prefix."""
    return Reply(AddressPoolAnswer(address_pool=pools.create_pool(call.body)))


@operations.get("/address-pools/{id:row}", scope="nodes:read", answer=AddressPoolAnswer)
def read_address_pool(call: Call[None, NoQuery]) -> Reply:
    """Show an address pool."""
    found = pools.find(call.path["id"])
    return Reply(AddressPoolAnswer(address_pool=pools.view(found)), etag=found.version)


@operations.patch(
    "/address-pools/{id:row}", scope="nodes:write", body=AddressPoolChange, answer=AddressPoolAnswer
)
def change_address_pool(call: Call[AddressPoolChange, NoQuery]) -> Reply:
    """Change an address pool; servers get it when they are configured next."""
    found = pools.find(call.path["id"], call.if_match)
    pools.change_pool(found, call.body)
    return Reply(AddressPoolAnswer(address_pool=pools.view(found)), etag=found.version)


@operations.delete("/address-pools/{id:row}", scope="nodes:write", answer=AddressPoolAnswer)
def delete_address_pool(call: Call[None, NoQuery]) -> Reply:
    """Delete an address pool that no server has an address of."""
    found = pools.find(call.path["id"], call.if_match)
    last = pools.view(found)
    pools.delete_pool(found)
    return Reply(AddressPoolAnswer(address_pool=last))


@operations.post(
    "/address-pools/{id:row}/addresses",
    scope="nodes:write",
    body=AddressRangeSpec,
    answer=AddressPoolAnswer,
    status=201,
)
def extend_address_pool(call: Call[AddressRangeSpec, NoQuery]) -> Reply:
    """Give an address pool more addresses of its subnet."""
    found = pools.find(call.path["id"])
    pools.extend_pool(found, call.body)
    return Reply(AddressPoolAnswer(address_pool=pools.view(found)), etag=found.version)


@operations.get(
    "/address-pools/{id:row}/addresses", scope="nodes:read", answer=AddressList, query=AddressListQuery
)
def list_addresses(call: Call[None, AddressListQuery]) -> Reply:
    """List the addresses of a pool, with who has them."""
    found = addresses.list_addresses(call.path["id"], call.query.wanted_page(), call.query.filters())
    return Reply(AddressList.model_validate({"addresses": found.items, "meta": found.meta()}))


@operations.get("/address-pools/{id:row}/addresses/{address:path}", scope="nodes:read", answer=AddressAnswer)
def read_address(call: Call[None, NoQuery]) -> Reply:
    """Show an address of a pool, with who has it."""
    return Reply(AddressAnswer(address=addresses.read_address(call.path["id"], call.path["address"])))


@operations.patch(
    "/address-pools/{id:row}/addresses/{address:path}",
    scope="nodes:write",
    body=AddressChange,
    answer=AddressAnswer,
)
def change_address(call: Call[AddressChange, NoQuery]) -> Reply:
    """Reserve an address of a pool, or no longer."""
    assert_no_version("address", call.if_match)
    changed = addresses.change_address(call.path["id"], call.path["address"], call.body)
    return Reply(AddressAnswer(address=changed))


@operations.delete(
    "/address-pools/{id:row}/addresses/{address:path}", scope="nodes:write", answer=AddressAnswer
)
def remove_address(call: Call[None, NoQuery]) -> Reply:
    """Take an address that no server has out of its pool."""
    assert_no_version("address", call.if_match)
    return Reply(AddressAnswer(address=addresses.remove_address(call.path["id"], call.path["address"])))
