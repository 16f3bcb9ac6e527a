"""Who may do what: credentials, roles, the access control list, and the checks that the schema declares.

The API to change users, tokens and the list is in `access_api`.
"""

import base64
import contextlib
import hashlib
import hmac
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fakepve.formats import split_list

from jotunheim.sandbox.errors import ApiError, failure, forbidden
from jotunheim.sandbox.roles import BUILT_IN_ROLES, PRIVILEGES
from jotunheim.sandbox.state import State

TICKET_LIFETIME = 2 * 3600
ROOT = "root@pam"
REFUSED = "Permission check failed"
"""What PVE says where it does not say which privilege is missing."""


@dataclass(frozen=True)
class Auth:
    """Who sent a request."""

    user: str
    token: str | None = None
    privsep: bool = False

    @property
    def owner(self) -> str:
        """The owner as UPIDs and consoles name it."""
        return f"{self.user}!{self.token}" if self.token else self.user


def user_active(state: State, userid: str) -> bool:
    """Whether a user exists, is enabled and has not expired."""
    user = state.users.get(userid)
    return user is not None and user.enable and not 0 < user.expire < time.time()


def token_auth(state: State, header: str) -> Auth | None:
    """The owner of an `Authorization: PVEAPIToken=user@realm!name=secret` header."""
    found = re.fullmatch(r"PVEAPIToken[= ](\S+@[^\s!]+)!([^\s=]+)=(\S+)", header)
    if not found or not user_active(state, found[1]):
        return None
    token = state.users[found[1]].tokens.get(found[2])
    if token is None or not hmac.compare_digest(token.secret.encode(), found[3].encode()):
        return None
    if 0 < token.expire < time.time():
        return None
    return Auth(found[1], found[2], token.privsep)


def make_ticket(state: State, prefix: str, subject: str) -> str:
    """A signed ticket: `PVE:user:TIME::signature`, or `PVEVNC:TIME::signature` for a console."""
    stamp = f"{int(time.time()):08X}"
    text = f"{prefix}:{subject}:{stamp}" if prefix == "PVE" else f"{prefix}:{stamp}"
    return f"{text}::{_sign(state, text + subject)}"


def make_csrf(state: State, user: str) -> str:
    """The token that a ticket's owner must send with each write."""
    stamp = f"{int(time.time()):08X}"
    return f"{stamp}:{_sign(state, f'csrf:{stamp}:{user}')}"


def ticket_auth(state: State, ticket: str) -> Auth | None:
    """The owner of a ticket, if it is genuine and not too old."""
    found = re.fullmatch(r"(PVE:(\S+):([0-9A-F]{8}))::(\S+)", ticket)
    if not found or not _fresh(found[3]) or not user_active(state, found[2]):
        return None
    genuine = hmac.compare_digest(_sign(state, found[1] + found[2]).encode(), found[4].encode())
    return Auth(found[2]) if genuine else None


def console_ticket_valid(state: State, ticket: str, subject: str) -> bool:
    """Whether a console's ticket is genuine for a subject (`owner:path:port`)."""
    found = re.fullmatch(r"(PVEVNC:([0-9A-F]{8}))::(\S+)", ticket)
    if not found:
        return False
    return hmac.compare_digest(_sign(state, found[1] + subject).encode(), found[3].encode())


def csrf_valid(state: State, csrf: str, user: str) -> bool:
    """Whether a CSRF token belongs to a user."""
    stamp, _, signature = csrf.partition(":")
    expected = _sign(state, f"csrf:{stamp}:{user}")
    return _fresh(stamp) and hmac.compare_digest(expected.encode(), signature.encode())


def _fresh(stamp: str) -> bool:
    if not re.fullmatch(r"[0-9A-F]{8}", stamp):
        return False
    return -300 < time.time() - int(stamp, 16) < TICKET_LIFETIME


def _sign(state: State, text: str) -> str:
    digest = hmac.new(state.ticket_key.encode(), text.encode(), hashlib.sha512).digest()
    return base64.b64encode(digest).decode()


def role_privileges(state: State, role: str) -> frozenset[str]:
    """The privileges of a role."""
    if role in BUILT_IN_ROLES:
        return BUILT_IN_ROLES[role]
    return frozenset(state.roles.get(role, ()))


def privileges(state: State, auth: Auth, path: str) -> frozenset[str]:
    """What the sender of a request may do at a path of the access tree."""
    return frozenset(effective(state, auth, path))


def effective(state: State, auth: Auth, path: str) -> dict[str, int]:
    """The privileges that are held at a path, each with whether it is passed on to paths below (0 or 1).

    A privilege that is not passed on is held all the same.
    """
    if auth.user == ROOT and not auth.privsep:
        return dict.fromkeys(sorted(PRIVILEGES), 1)
    own = dict.fromkeys(PRIVILEGES, 1) if auth.user == ROOT else _held(state, auth.user, path)
    if auth.token is None or not auth.privsep:
        return own
    of_token = _held(state, auth.owner, path)
    return {name: own[name] and flag for name, flag in of_token.items() if name in own}


def _held(state: State, subject: str, path: str) -> dict[str, int]:
    """The privileges of a user's or token's roles, with those of the pools that the path belongs to."""
    roles = _roles(state, subject, path)
    kind, _, rest = path.strip("/").partition("/")
    of_pools: dict[str, int] = {}
    for name, pool in state.pools.items():
        member = (kind == "vms" and rest.isdigit() and int(rest) in pool.vms) or (
            kind == "storage" and rest in pool.storages
        )
        if member:
            of_pools |= dict.fromkeys(_roles(state, subject, f"/pool/{name}"), 0)
    if "NoAccess" not in roles:
        roles = {"NoAccess": 0} if "NoAccess" in of_pools else of_pools | roles
    found: dict[str, int] = {}
    for role, passed_on in roles.items():
        for privilege in role_privileges(state, role):
            found[privilege] = found.get(privilege, 0) or passed_on
    return dict(sorted(found.items()))


def _roles(state: State, subject: str, path: str) -> dict[str, int]:
    """The roles of the nearest level that has any, own entries before those of groups."""
    parts = [part for part in path.split("/") if part]
    levels = ["/" + "/".join(parts[:n]) for n in range(len(parts), -1, -1)]
    user = state.users.get(subject)
    groups = set(user.groups) if user else set()
    for depth, level in enumerate(levels):
        entries = [a for a in state.acl if a.path == level and (a.propagate or depth == 0)]
        own = [a for a in entries if a.kind in ("user", "token") and a.subject == subject]
        chosen = own or [a for a in entries if a.kind == "group" and a.subject in groups]
        roles: dict[str, int] = {}
        for entry in chosen:
            roles[entry.role] = roles.get(entry.role, 0) or int(entry.propagate)
        if roles:
            return {"NoAccess": roles["NoAccess"]} if "NoAccess" in roles else roles
    return {}


_NAME = r"[a-zA-Z0-9.\-_]+"
PATH = re.compile(
    rf"/|/access|/access/groups(/{_NAME})?|/access/realm(/{_NAME})?|/mapping(/{_NAME}){{0,2}}|/nodes(/{_NAME})?"
    rf"|/pool(/{_NAME}){{0,3}}|/sdn|/sdn/zones(/{_NAME}){{0,2}}|/sdn/zones/{_NAME}/{_NAME}/[1-9][0-9]{{0,3}}"
    rf"|/storage(/{_NAME})?|/vms(/[1-9][0-9]{{2,}})?"
)
"""Paths that an entry of the access control list may have."""


def normal_path(path: str) -> str | None:
    """PVE's `normalize_path`: single slashes, one in front and none at the end; None for odd characters.

    With such characters nobody has privileges there, not even root's token.
    """
    joined = "/" + re.sub("/+", "/", path).strip("/")
    return joined if path and re.fullmatch(r"[a-zA-Z0-9.\-_/]+", joined) else None


def require(state: State, auth: Auth, path: str, wanted: Sequence[str], *, any_of: bool = False) -> None:
    """Refuse with 403 unless the sender has all (or any) of the privileges at the path."""
    normal = normal_path(path)
    if normal is None:
        raise forbidden(", " + "|".join(wanted))
    held = privileges(state, auth, normal)
    if any_of and not held.intersection(wanted):
        raise forbidden(f"{normal}, {'|'.join(wanted)}")
    if not any_of:
        for privilege in wanted:
            if privilege not in held:
                raise forbidden(f"{normal}, {privilege}")


def allowed(state: State, auth: Auth, path: str, wanted: Iterable[str]) -> bool:
    """Whether the sender has all of the privileges at the path."""
    return privileges(state, auth, path).issuperset(wanted)


def check_declared(
    state: State, auth: Auth, declared: Mapping[str, Any] | None, params: Mapping[str, Any]
) -> None:
    """Check the permissions that the schema declares for a method.

    Raises:
        ApiError: 403.
    """
    if auth.user == ROOT and not auth.token:
        return
    if declared is None:
        raise forbidden("user != root@pam")
    if declared.get("user") in ("all", "world"):
        return
    _check(state, auth, declared["check"], params)


def _check(state: State, auth: Auth, check: Sequence[Any], params: Mapping[str, Any]) -> None:
    kind = check[0]
    options = dict(zip(check[3::2], check[4::2], strict=True)) if kind == "perm" else {}
    if kind == "and":
        for part in check[1:]:
            _check(state, auth, part, params)
    elif kind == "or":
        _check_any(state, auth, check[1:], params)
    elif kind == "perm":
        if options.get("require_param", "") and options["require_param"] not in params:
            raise ApiError(403, REFUSED)
        path = re.sub(r"\{([^}]+)\}", lambda found: str(params.get(found[1], "")), check[1])
        require(state, auth, path, check[2], any_of=bool(options.get("any")))
    elif kind == "perm-modify":
        normal = normal_path(str(params.get("path", "")))
        if normal is not None:  # the parameter check names the others
            require_modify(state, auth, normal)
    elif kind == "userid-param":
        _check_user(state, auth, check[1], str(params.get("userid", "")))
    elif kind == "userid-group":
        _check_group(state, auth, check, params)


def _check_any(state: State, auth: Auth, parts: Sequence[Any], params: Mapping[str, Any]) -> None:
    for part in parts:
        if part[0] == "and":  # PVE lets what an "and" says through
            _check(state, auth, part, params)
            return
        with contextlib.suppress(ApiError):
            _check(state, auth, part, params)
            return
    raise ApiError(403, REFUSED)


def require_modify(state: State, auth: Auth, path: str) -> None:
    """Refuse with 403 unless the sender may change the entries of a path of the access control list."""
    special = {"storage": "Datastore.Allocate", "vms": "VM.Allocate", "pool": "Pool.Allocate"}
    kind, _, rest = path.strip("/").partition("/")
    wanted = ["Permissions.Modify", *([special[kind]] if rest and kind in special else [])]
    require(state, auth, path, wanted, any_of=True)


def _check_user(state: State, auth: Auth, wanted: str, userid: str) -> None:
    if wanted == "self":
        if userid not in state.users or auth.owner != userid:  # a token is not its user
            raise ApiError(403, REFUSED)
        return
    realm = userid.rpartition("@")[2]
    require(state, auth, f"/access/realm/{realm}", [wanted])


def _check_group(state: State, auth: Auth, check: Sequence[Any], params: Mapping[str, Any]) -> None:
    wanted = check[1]
    options = dict(zip(check[2::2], check[3::2], strict=True))
    userid, asked = str(params.get("userid", "")), options.get("groups_param")
    if asked != "create" and userid not in state.users:
        raise failure(f"no such user ('{userid}')")
    if privileges(state, auth, "/access/groups").intersection(wanted):
        return
    allowed_groups = {g for g in state.groups if privileges(state, auth, f"/access/groups/{g}") & set(wanted)}
    if asked:
        groups = split_list(str(params.get("groups", "")))
        if not groups:
            raise forbidden(f"/access/groups, {'|'.join(wanted)}")
        for group in groups:
            if group not in allowed_groups:
                raise forbidden(f"/access/groups/{group}, {'|'.join(wanted)}")
    if asked != "create" and not allowed_groups.intersection(state.users[userid].groups):
        raise ApiError(403, REFUSED)
