"""Users and their API tokens through the API."""

import uuid
from typing import Any

from fakepve.formats import split_list

from jotunheim.sandbox.access import privileges
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.errors import bad_params, failure
from jotunheim.sandbox.state import State, Token, User

routes = Routes()

REALMS = (
    {"comment": "Linux PAM standard authentication", "realm": "pam", "type": "pam"},
    {"comment": "Proxmox VE authentication server", "realm": "pve", "type": "pve"},
)
MANAGING = frozenset({"User.Modify", "Sys.Audit"})
"""Either of them on a group lets its users be seen."""
USER_FIELDS = ("comment", "email", "firstname", "lastname")


def find_user(state: State, userid: str) -> User:
    """The user of an id, or PVE's error."""
    if userid not in state.users:
        raise failure(f"no such user ('{userid}')")
    return state.users[userid]


def realm_of(userid: str) -> str:
    """The realm of a user id."""
    return userid.rpartition("@")[2]


@routes("GET", "/access/users")
async def list_users(call: Call) -> list[dict[str, Any]]:
    """The users that the sender may see: all, or only themselves."""
    state = call.world.state
    everybody = bool(privileges(state, call.auth, "/access/groups") & MANAGING)
    listed = []
    groups = {g for g in state.groups if privileges(state, call.auth, f"/access/groups/{g}") & MANAGING}
    for user in sorted(state.users.values(), key=lambda user: user.userid):
        if not (everybody or user.userid == call.auth.owner or groups.intersection(user.groups)):
            continue
        if call.get("enabled") is not None and user.enable != bool(call.params["enabled"]):
            continue
        entry = _described(user) | {"userid": user.userid, "realm-type": realm_of(user.userid)}
        if call.get("full"):
            entry["groups"] = ",".join(user.groups)
            tokens = sorted(user.tokens.items())
            entry["tokens"] = [_token(token) | {"tokenid": name} for name, token in tokens] or None
        listed.append(entry)
    return listed


def _described(user: User) -> dict[str, Any]:
    data: dict[str, Any] = {"enable": int(user.enable), "expire": user.expire}
    data |= {name: getattr(user, name) for name in USER_FIELDS if getattr(user, name)}
    # PVE's file has the address before the comment: a user with a comment has an empty one at least
    return {"email": ""} | data if user.comment else data


@routes("GET", "/access/users/{userid}")
async def show_user(call: Call) -> dict[str, Any]:
    """One user."""
    user = find_user(call.world.state, str(call.params["userid"]))
    data = _described(user) | {"groups": list(user.groups)}
    data["tokens"] = {name: _token(token) for name, token in user.tokens.items()} or None
    return data


@routes("POST", "/access/users")
async def create_user(call: Call) -> None:
    """Create a user."""
    state, userid = call.world.state, str(call.params["userid"])
    if userid in state.users:
        raise failure(f"create user failed: user '{userid}' already exists")
    if "password" in call.params and realm_of(userid) not in {realm["realm"] for realm in REALMS}:
        raise failure(f"create user failed: auth domain '{realm_of(userid)}' does not exist")
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
    state.users.pop(userid, None)
    state.acl = [a for a in state.acl if a.subject != userid and not a.subject.startswith(f"{userid}!")]


def _token(token: Token) -> dict[str, Any]:
    data: dict[str, Any] = {"expire": token.expire, "privsep": int(token.privsep)}
    return data | ({"comment": token.comment} if token.comment is not None else {})


def _find_token(call: Call, what: str = "") -> tuple[User, str, Token]:
    user, name = find_user(call.world.state, str(call.params["userid"])), str(call.params["tokenid"])
    if name not in user.tokens:
        raise failure(f"{what}no such token '{name}' for user '{user.userid}'")
    return user, name, user.tokens[name]


@routes("GET", "/access/users/{userid}/token")
async def list_tokens(call: Call) -> list[dict[str, Any]]:
    """A user's tokens, without their secrets."""
    user = find_user(call.world.state, str(call.params["userid"]))
    return [_token(token) | {"tokenid": name} for name, token in user.tokens.items()]


@routes("GET", "/access/users/{userid}/token/{tokenid}")
async def show_token(call: Call) -> dict[str, Any]:
    """One token."""
    _, _, token = _find_token(call)
    return _token(token)


@routes("POST", "/access/users/{userid}/token/{tokenid}")
async def create_token(call: Call) -> dict[str, Any]:
    """Create a token. Its secret is shown this once."""
    user, name = find_user(call.world.state, str(call.params["userid"])), str(call.params["tokenid"])
    if name in user.tokens:
        raise bad_params(tokenid="Token already exists.")
    token = Token(
        str(uuid.uuid4()),
        bool(call.get("privsep", 1)),
        call.get("comment") or None,
        int(call.get("expire", 0)),
    )
    user.tokens[name] = token
    return {
        "full-tokenid": f"{user.userid}!{name}",
        "info": _as_sent(call, token),
        "value": token.secret,
    }


def _as_sent(call: Call, token: Token) -> dict[str, Any]:
    """A token after a change. PVE echoes what was sent as the strings that they were."""
    data = {key: value for key, value in _token(token).items() if key != "expire" or "expire" in call.sent}
    return data | {key: str(call.sent[key]) for key in data if key in call.sent}


@routes("PUT", "/access/users/{userid}/token/{tokenid}")
async def change_token(call: Call) -> dict[str, Any]:
    """Change a token's comment, expiry or privilege separation."""
    _, _, token = _find_token(call)
    if call.get("comment"):
        token.comment = call.params["comment"]
    if "expire" in call.params:
        token.expire = int(call.params["expire"])
    if "privsep" in call.params:
        token.privsep = bool(call.params["privsep"])
    return _token(token) | _as_sent(call, token)


@routes("DELETE", "/access/users/{userid}/token/{tokenid}")
async def delete_token(call: Call) -> None:
    """Delete a token with its permissions."""
    user, name, _ = _find_token(call)
    del user.tokens[name]
    call.world.state.acl = [a for a in call.world.state.acl if a.subject != f"{user.userid}!{name}"]
