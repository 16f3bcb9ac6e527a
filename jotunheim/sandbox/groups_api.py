"""Roles and groups through the API."""

from typing import Any

from fakepve.formats import split_list

from jotunheim.sandbox import access
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.errors import bad_params, failure
from jotunheim.sandbox.roles import BUILT_IN_ROLES, PRIVILEGES
from jotunheim.sandbox.state import State

routes = Routes()

SEEING = frozenset({"User.Modify", "Sys.Audit", "Group.Allocate"})
"""Any of them on a group shows it in the list."""


@routes("GET", "/access/roles")
async def list_roles(call: Call) -> list[dict[str, Any]]:
    """All roles with their privileges."""
    built_in = [
        {"privs": ",".join(sorted(held)), "roleid": name, "special": 1}
        for name, held in BUILT_IN_ROLES.items()
    ]
    own = [
        {"privs": ",".join(sorted(held)), "roleid": n, "special": 0}
        for n, held in call.world.state.roles.items()
    ]
    return built_in + own


@routes("GET", "/access/roles/{roleid}")
async def show_role(call: Call) -> dict[str, int]:
    """One role's privileges."""
    role = str(call.params["roleid"])
    if role not in BUILT_IN_ROLES and role not in call.world.state.roles:
        raise failure(f"role '{role}' does not exist")
    return dict.fromkeys(sorted(access.role_privileges(call.world.state, role)), 1)


def _privileges(text: str, what: str) -> list[str]:
    names: list[str] = split_list(text)
    for name in names:
        if name not in PRIVILEGES:
            raise failure(f"{what}: invalid privilege '{name}'")
    return names


@routes("POST", "/access/roles")
async def create_role(call: Call) -> None:
    """Create a role."""
    role, what = str(call.params["roleid"]), "create role failed"
    if role.upper().startswith("PVE"):
        why = "cannot use role ID starting with the (case-insensitive) 'PVE' namespace"
        raise bad_params(roleid=why)
    if role in BUILT_IN_ROLES or role in call.world.state.roles:
        raise failure(f"{what}: role '{role}' already exists")
    call.world.state.roles[role] = _privileges(str(call.get("privs", "")), what)


@routes("PUT", "/access/roles/{roleid}")
async def change_role(call: Call) -> None:
    """Replace a role's privileges, or add to them."""
    role, what = str(call.params["roleid"]), "update role failed"
    if role in BUILT_IN_ROLES:
        raise failure(f"auto-generated role '{role}' cannot be modified")
    if role not in call.world.state.roles:
        raise failure(f"{what}: role '{role}' does not exist")
    kept = call.world.state.roles[role] if call.get("append") else []
    call.world.state.roles[role] = sorted({*kept, *_privileges(str(call.get("privs", "")), what)})


@routes("DELETE", "/access/roles/{roleid}")
async def delete_role(call: Call) -> None:
    """Delete a role with its entries in the access control list."""
    role, state = str(call.params["roleid"]), call.world.state
    if role in BUILT_IN_ROLES:
        raise failure(f"auto-generated role '{role}' cannot be deleted")
    if role not in state.roles:
        raise failure(f"delete role failed: role '{role}' does not exist")
    del state.roles[role]
    state.acl = [a for a in state.acl if a.role != role]


@routes("GET", "/access/groups")
async def list_groups(call: Call) -> list[dict[str, Any]]:
    """The groups that the sender may see, with their members."""
    state = call.world.state
    return [
        _group(state, name) | {"groupid": name}
        for name in state.groups
        if access.privileges(state, call.auth, f"/access/groups/{name}") & SEEING
    ]


def _group(state: State, name: str) -> dict[str, Any]:
    members = sorted(user.userid for user in state.users.values() if name in user.groups)
    data: dict[str, Any] = {"users": ",".join(members)}
    return data | ({"comment": state.groups[name]} if state.groups[name] else {})


@routes("POST", "/access/groups")
async def create_group(call: Call) -> None:
    """Create a group."""
    name = str(call.params["groupid"])
    if name in call.world.state.groups:
        raise failure(f"create group failed: group '{name}' already exists")
    call.world.state.groups[name] = call.get("comment")


@routes("PUT", "/access/groups/{groupid}")
async def change_group(call: Call) -> None:
    """Change a group's comment."""
    name, groups = str(call.params["groupid"]), call.world.state.groups
    if name not in groups:
        raise failure(f"update group failed: group '{name}' does not exist")
    if "comment" in call.params:
        groups[name] = call.params["comment"] or None


@routes("GET", "/access/groups/{groupid}")
async def show_group(call: Call) -> dict[str, Any]:
    """One group."""
    name, state = str(call.params["groupid"]), call.world.state
    if name not in state.groups:
        raise failure(f"group '{name}' does not exist")
    members = [user.userid for user in state.users.values() if name in user.groups]
    data: dict[str, Any] = {"members": members}
    return data | ({"comment": state.groups[name]} if state.groups[name] else {})


@routes("DELETE", "/access/groups/{groupid}")
async def delete_group(call: Call) -> None:
    """Delete a group."""
    name, state = str(call.params["groupid"]), call.world.state
    if name not in state.groups:
        raise failure(f"delete group failed: group '{name}' does not exist")
    del state.groups[name]
    for user in state.users.values():
        user.groups = [group for group in user.groups if group != name]
    state.acl = [a for a in state.acl if not (a.kind == "group" and a.subject == name)]
