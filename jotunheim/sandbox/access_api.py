"""Users, groups, roles, tokens, the access control list and tickets through the API."""

import asyncio
import uuid
from typing import Any

from fakepve.formats import split_list

from jotunheim.sandbox import access
from jotunheim.sandbox.access import ROOT, make_csrf, make_ticket, normal_path, privileges, ticket_auth
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.errors import ApiError, bad_params, failure, forbidden
from jotunheim.sandbox.roles import BUILT_IN_ROLES, PRIVILEGES
from jotunheim.sandbox.state import Acl, State, Token, User

routes = Routes()

REALMS = (
    {"comment": "Linux PAM standard authentication", "realm": "pam", "type": "pam"},
    {"comment": "Proxmox VE authentication server", "realm": "pve", "type": "pve"},
)
USER_FIELDS = ("comment", "email", "firstname", "lastname")


def _user(state: State, userid: str) -> User:
    if userid not in state.users:
        raise failure(f"no such user ('{userid}')")
    return state.users[userid]


def _realm(userid: str) -> str:
    return userid.rpartition("@")[2]


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
    user = _user(call.world.state, str(call.params["userid"]))
    if call.auth.token:
        raise forbidden("API tokens cannot change passwords")
    if call.auth.user != ROOT and _realm(user.userid) == "pam":
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
        user = _user(state, userid)
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


@routes("GET", "/access/users")
async def list_users(call: Call) -> list[dict[str, Any]]:
    """The users that the sender may see: all, or only themselves."""
    state = call.world.state
    everybody = bool(privileges(state, call.auth, "/access/groups") & {"User.Modify", "Sys.Audit"})
    listed = []
    for user in state.users.values():
        if not (everybody or user.userid == call.auth.user):
            continue
        if call.get("enabled") is not None and user.enable != bool(call.params["enabled"]):
            continue
        entry = _described(user) | {"userid": user.userid, "realm-type": _realm(user.userid)}
        if call.get("full"):
            entry["groups"] = ",".join(user.groups)
            entry["tokens"] = [_token(name, token) | {"tokenid": name} for name, token in user.tokens.items()]
        listed.append(entry)
    return listed


def _described(user: User) -> dict[str, Any]:
    data: dict[str, Any] = {"enable": int(user.enable), "expire": user.expire}
    return data | {name: getattr(user, name) for name in USER_FIELDS if getattr(user, name) is not None}


@routes("GET", "/access/users/{userid}")
async def show_user(call: Call) -> dict[str, Any]:
    """One user."""
    user = _user(call.world.state, str(call.params["userid"]))
    data = _described(user) | {"groups": list(user.groups)}
    if user.tokens:
        data["tokens"] = {name: _token(name, token) for name, token in user.tokens.items()}
    return data


@routes("POST", "/access/users")
async def create_user(call: Call) -> None:
    """Create a user."""
    state, userid = call.world.state, str(call.params["userid"])
    if userid in state.users:
        raise failure(f"create user failed: user '{userid}' already exists")
    if _realm(userid) not in {realm["realm"] for realm in REALMS}:
        raise failure(f"create user failed: domain '{_realm(userid)}' does not exist")
    user = User(userid)
    _set_fields(call, user, "create user failed")
    if "password" in call.params:
        user.password = str(call.params["password"])
    state.users[userid] = user


@routes("PUT", "/access/users/{userid}")
async def change_user(call: Call) -> None:
    """Change a user."""
    user = call.world.state.users.get(str(call.params["userid"]))
    if user is None:
        raise failure(f"update user failed: no such user ('{call.params['userid']}')")
    _set_fields(call, user, "update user failed")


def _set_fields(call: Call, user: User, what: str) -> None:
    for name in USER_FIELDS:
        if name in call.params:
            setattr(user, name, call.params[name])
    if "enable" in call.params:
        user.enable = bool(call.params["enable"])
    if "expire" in call.params:
        user.expire = int(call.params["expire"])
    if "groups" in call.params:
        groups = split_list(str(call.params["groups"]))
        for group in groups:
            if group not in call.world.state.groups:
                raise failure(f"{what}: no such group '{group}'")
        user.groups = sorted({*groups, *(user.groups if call.get("append") else [])})


@routes("DELETE", "/access/users/{userid}")
async def delete_user(call: Call) -> None:
    """Delete a user with its tokens and permissions."""
    state, userid = call.world.state, str(call.params["userid"])
    if userid not in state.users:
        raise failure(f"delete user failed: no such user ('{userid}')")
    del state.users[userid]
    state.acl = [a for a in state.acl if a.subject != userid and not a.subject.startswith(f"{userid}!")]


def _token(_name: str, token: Token) -> dict[str, Any]:
    data: dict[str, Any] = {"expire": token.expire, "privsep": int(token.privsep)}
    return data | ({"comment": token.comment} if token.comment is not None else {})


def _find_token(call: Call, what: str = "") -> tuple[User, str, Token]:
    user, name = _user(call.world.state, str(call.params["userid"])), str(call.params["tokenid"])
    if name not in user.tokens:
        raise failure(f"{what}no such token '{name}' for user '{user.userid}'")
    return user, name, user.tokens[name]


@routes("GET", "/access/users/{userid}/token")
async def list_tokens(call: Call) -> list[dict[str, Any]]:
    """A user's tokens, without their secrets."""
    user = _user(call.world.state, str(call.params["userid"]))
    return [_token(name, token) | {"tokenid": name} for name, token in user.tokens.items()]


@routes("GET", "/access/users/{userid}/token/{tokenid}")
async def show_token(call: Call) -> dict[str, Any]:
    """One token."""
    _, name, token = _find_token(call)
    return _token(name, token)


@routes("POST", "/access/users/{userid}/token/{tokenid}")
async def create_token(call: Call) -> dict[str, Any]:
    """Create a token. Its secret is shown this once."""
    user, name = _user(call.world.state, str(call.params["userid"])), str(call.params["tokenid"])
    if name in user.tokens:
        raise bad_params(tokenid="Token already exists.")
    token = Token(
        str(uuid.uuid4()), bool(call.get("privsep", 1)), call.get("comment"), int(call.get("expire", 0))
    )
    user.tokens[name] = token
    return {
        "full-tokenid": f"{user.userid}!{name}",
        "info": _shown_after_change(token, as_text=True),
        "value": token.secret,
    }


def _shown_after_change(token: Token, *, as_text: bool) -> dict[str, Any]:
    """PVE shows the numbers of a new token as strings."""
    return {
        key: str(value) if as_text else value
        for key, value in _token("", token).items()
        if key != "expire" or value
    }


@routes("PUT", "/access/users/{userid}/token/{tokenid}")
async def change_token(call: Call) -> dict[str, Any]:
    """Change a token's comment, expiry or privilege separation."""
    _, name, token = _find_token(call)
    if "comment" in call.params:
        token.comment = call.params["comment"]
    if "expire" in call.params:
        token.expire = int(call.params["expire"])
    if "privsep" in call.params:
        token.privsep = bool(call.params["privsep"])
    return _token(name, token)


@routes("DELETE", "/access/users/{userid}/token/{tokenid}")
async def delete_token(call: Call) -> None:
    """Delete a token with its permissions."""
    user, name, _ = _find_token(call)
    del user.tokens[name]
    call.world.state.acl = [a for a in call.world.state.acl if a.subject != f"{user.userid}!{name}"]


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
        raise bad_params(users="either 'users', 'groups' or 'tokens' is required.")
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
        raise failure(f"{what}: no such group '{name}'")
    userid, _, token = name.partition("!")
    if kind != "group" and userid not in state.users:
        raise failure(f"{what}: no such user ('{userid}')")
    if kind == "token" and token not in state.users[userid].tokens:
        raise failure(f"{what}: no such token '{token}' for user '{userid}'")


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
    """All groups with their members."""
    return [_group(call.world.state, name) | {"groupid": name} for name in call.world.state.groups]


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
