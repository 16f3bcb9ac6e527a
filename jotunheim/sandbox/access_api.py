"""Logging in, permissions and the access control list through the API."""

import asyncio
from typing import Any

from fakepve.formats import split_list

from jotunheim.sandbox import access
from jotunheim.sandbox.access import ROOT, make_csrf, make_ticket, normal_path, privileges, ticket_auth
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.errors import ApiError, bad_params, failure, forbidden
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


def _capabilities(state: State, auth: access.Auth) -> dict[str, dict[str, int]]:
    """What the sender may do somewhere, by area of the access tree."""
    areas = {
        "access": "/access",
        "dc": "/",
        "nodes": "/nodes",
        "storage": "/storage",
        "vms": "/vms",
        "sdn": "/sdn",
        "mapping": "/mapping",
    }
    caps: dict[str, dict[str, int]] = {}
    for area, root in areas.items():
        held: set[str] = set()
        for path in [root, *(a.path for a in state.acl if a.path.startswith(f"{root}/"))]:
            held |= privileges(state, auth, path)
        caps[area] = dict.fromkeys(sorted(held), 1)
    return caps


@routes("PUT", "/access/password")
async def password(call: Call) -> None:
    """Change a user's password."""
    user = find_user(call.world.state, str(call.params["userid"]))
    if call.auth.token:
        raise forbidden("API tokens cannot change passwords")
    if call.auth.user != ROOT and realm_of(user.userid) == "pam":
        raise forbidden("only root can change pam passwords")
    user.password = str(call.params["password"])


@routes("GET", "/access/permissions")
async def permissions(call: Call) -> dict[str, dict[str, int]]:
    """Privileges by path: the sender's own, or another user's for who may see them."""
    state, auth = call.world.state, call.auth
    wanted = call.get("userid")
    if wanted is not None and wanted != auth.owner:
        userid, _, token = str(wanted).partition("!")
        if userid != auth.user:
            call.require("/access", "Sys.Audit")
        user = find_user(state, userid)
        if token and token not in user.tokens:
            raise failure(f"no such token '{token}' for user '{userid}'")
        auth = access.Auth(userid, token or None, bool(token) and user.tokens[token].privsep)
    if call.get("path") is not None:
        path = normal_path(str(call.params["path"]))
        if path is None:
            raise bad_params(path=f"'{call.params['path']}' is not a valid ACL path")
        return {path: _held(state, auth, path)}
    roots = [
        "/",
        "/access",
        "/access/groups",
        "/access/realm",
        "/mapping",
        "/nodes",
        "/pool",
        "/sdn",
        "/storage",
        "/vms",
    ]
    paths = dict.fromkeys([*roots, *(entry.path for entry in state.acl)])
    return {path: held for path in paths if (held := _held(state, auth, path))}


def _held(state: State, auth: access.Auth, path: str) -> dict[str, int]:
    return dict.fromkeys(sorted(privileges(state, auth, path)), 1)


@routes("GET", "/access/acl")
async def list_acl(call: Call) -> list[dict[str, Any]]:
    """The access control list, as far as the sender may see it."""
    state = call.world.state
    audit = bool(privileges(state, call.auth, "/access") & {"Sys.Audit"})
    return [
        {"path": a.path, "propagate": int(a.propagate), "roleid": a.role, "type": a.kind, "ugid": a.subject}
        for a in state.acl
        if audit or "Permissions.Modify" in privileges(state, call.auth, a.path)
    ]


@routes("PUT", "/access/acl")
async def change_acl(call: Call) -> None:
    """Add or remove entries of the access control list."""
    state = call.world.state
    subjects = [
        (kind, name)
        for kind in ("user", "group", "token")
        for name in split_list(str(call.get(f"{kind}s", "")))
    ]
    if not subjects:
        why = "either 'users', 'groups' or 'tokens' is required."
        raise bad_params(users=why, groups=why, tokens=why)
    path = normal_path(str(call.params["path"]))
    if path is None:
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
    if kind != "group" and userid not in state.users:
        raise failure(f"{what}: user '{userid}' does not exist")
    if kind == "token" and token not in state.users[userid].tokens:
        raise failure(f"{what}: no such token '{token}' for user '{userid}'")
