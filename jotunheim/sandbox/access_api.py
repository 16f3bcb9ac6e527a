"""Logging in, permissions and the access control list through the API."""

import asyncio
import re
from typing import Any

from fakepve.formats import split_list

from jotunheim.sandbox import access
from jotunheim.sandbox.access import ROOT, make_csrf, make_ticket, normal_path, privileges, ticket_auth
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.errors import ApiError, bad_params, failure
from jotunheim.sandbox.roles import BUILT_IN_ROLES
from jotunheim.sandbox.state import Acl, State
from jotunheim.sandbox.users_api import REALMS, find_user, realm_of

routes = Routes()


@routes("GET", "/access/domains")
async def domains(_call: Call) -> list[dict[str, str]]:
    """The authentication realms."""
    return [dict(realm) for realm in REALMS]


@routes("POST", "/access/ticket")
async def ticket(call: Call) -> dict[str, Any]:
    """Log in with a password, or with a ticket to renew it."""
    state = call.world.state
    name = str(call.params["username"])
    userid = name if "@" in name else f"{name}@{call.get('realm', 'pam')}"
    password = str(call.params["password"])
    user = state.users.get(userid)
    renewed = ticket_auth(state, password)
    good = bool(user and user.password is not None and user.password == password)
    if not (good or (renewed and renewed.user == userid)) or not access.user_active(state, userid):
        await asyncio.sleep(call.world.settings.seconds("auth_failure"))
        raise ApiError(401, "authentication failure")
    auth = access.Auth(userid)
    if call.get("path") is not None:
        access.require(state, auth, str(call.params["path"]), split_list(str(call.get("privs", ""))))
    return {
        "CSRFPreventionToken": make_csrf(state, userid),
        "cap": _capabilities(state, auth),
        "ticket": make_ticket(state, "PVE", userid),
        "username": userid,
    }


@routes("GET", "/access/ticket")
async def ticket_dummy(_call: Call) -> None:
    """PVE's placeholder for login pages."""


CAPABILITIES = {
    "access": r"(User|Group)\.|Permissions\.Modify",
    "dc": r"Sys\.Audit|Sys\.Modify|SDN\.",
    "mapping": r"Mapping\.|Permissions\.Modify",
    "nodes": r"Sys\.|Permissions\.Modify",
    "sdn": r"SDN\.|Permissions\.Modify",
    "storage": r"Datastore\.|Permissions\.Modify",
    "vms": r"VM\.|Permissions\.Modify",
}
"""Which privileges a login answer lists for each area of the access tree."""


def _capabilities(state: State, auth: access.Auth) -> dict[str, dict[str, int]]:
    """What the sender may do somewhere, by area of the access tree. A pool's rights count for VMs and storages."""
    caps: dict[str, dict[str, int]] = {area: {} for area in CAPABILITIES}
    roots = ("/", "/nodes", "/access/groups", "/vms", "/storage", "/sdn", "/mapping")
    for path in dict.fromkeys([*roots, *_acl_tree(state)]):
        area = path.split("/")[1] or "dc"
        for privilege in privileges(state, auth, path):
            for name in ("vms", "storage") if area == "pool" else (area,):
                if re.match(CAPABILITIES[name], privilege):
                    caps[name][privilege] = 1
    return caps


def _acl_tree(state: State) -> list[str]:
    """The paths of the access control list with all that lie above them."""
    paths = {"/"}
    for entry in state.acl:
        parts = entry.path.strip("/").split("/")
        paths |= {"/" + "/".join(parts[:n]) for n in range(1, len(parts) + 1)}
    return sorted(paths)


@routes("PUT", "/access/password")
async def password(call: Call) -> None:
    """Change a user's password."""
    user = find_user(call.world.state, str(call.params["userid"]))
    if call.auth.user not in (ROOT, user.userid) and realm_of(user.userid) == "pam":
        raise ApiError(403, access.REFUSED)
    user.password = str(call.params["password"])


@routes("GET", "/access/permissions")
async def permissions(call: Call) -> dict[str, dict[str, int]]:
    """Privileges by path, each with whether it is passed on: the sender's own, or another's for who may see them.

    Nobody is too unknown to have none.
    """
    state, auth = call.world.state, call.auth
    wanted = str(call.get("userid", auth.owner))
    if wanted != auth.owner:
        userid, _, name = wanted.partition("!")
        if not (name and userid == auth.owner):
            call.require("/access", "Sys.Audit")
        user = state.users.get(userid)
        token = user.tokens.get(name) if user else None
        if user is None or (name and token is None):
            return {str(call.params["path"]): {}} if call.get("path") else {}
        auth = access.Auth(userid, name or None, token is not None and token.privsep)
    if call.get("path"):
        path = str(call.params["path"])
        return {path: access.effective(state, auth, path)}
    paths = [
        "/",
        "/access",
        "/access/groups",
        "/nodes",
        "/pool",
        "/sdn",
        "/storage",
        "/vms",
        *_acl_tree(state),
    ]
    for pool in state.pools.values():
        paths += [f"/vms/{vmid}" for vmid in pool.vms] + [f"/storage/{name}" for name in pool.storages]
    return {path: held for path in dict.fromkeys(paths) if (held := access.effective(state, auth, path))}


@routes("GET", "/access/acl")
async def list_acl(call: Call) -> list[dict[str, Any]]:
    """The access control list, as far as the sender may see it."""
    state = call.world.state
    audit = bool(privileges(state, call.auth, "/access") & {"Sys.Audit"})
    return [
        {"path": a.path, "propagate": int(a.propagate), "roleid": a.role, "type": a.kind, "ugid": a.subject}
        for a in state.acl
        if audit or _may_modify(call, a.path)
    ]


def _may_modify(call: Call, path: str) -> bool:
    try:
        access.require_modify(call.world.state, call.auth, path)
    except ApiError:
        return False
    return True


@routes("PUT", "/access/acl")
async def change_acl(call: Call) -> None:
    """Add or remove entries of the access control list."""
    state = call.world.state
    subjects = [
        (kind, name)
        for kind in ("group", "user", "token")
        for name in split_list(str(call.get(f"{kind}s", "")))
    ]
    if not subjects:
        why = "either 'users', 'groups' or 'tokens' is required."
        raise bad_params(users=why, groups=why, tokens=why)
    path = normal_path(str(call.params["path"]))
    if path is None or not (call.get("delete") or access.PATH.fullmatch(path)):
        raise bad_params(path=f"invalid ACL path '{call.params['path']}'")
    what = "ACL update failed"
    roles = split_list(str(call.params["roles"]))
    for role in roles:
        if role not in BUILT_IN_ROLES and role not in state.roles:
            raise failure(f"{what}: role '{role}' does not exist")
        for kind, name in subjects:
            _check_subject(state, kind, name, what)
    for role in roles:
        for kind, name in subjects:
            state.acl = [
                a for a in state.acl if (a.path, a.kind, a.subject, a.role) != (path, kind, name, role)
            ]
            if not call.get("delete"):
                state.acl.append(Acl(path, kind, name, role, bool(call.get("propagate", 1))))


def _check_subject(state: State, kind: str, name: str, what: str) -> None:
    if kind == "group" and name not in state.groups:
        raise failure(f"{what}: group '{name}' does not exist")
    userid, _, token = name.partition("!")
    if kind == "user" and userid not in state.users:
        raise failure(f"{what}: user '{userid}' does not exist")
    if kind == "token" and userid not in state.users:
        raise failure(f"{what}: no such user ('{userid}')")
    if kind == "token" and token not in state.users[userid].tokens:
        raise failure(f"{what}: no such token '{token}' for user '{userid}'")
