"""Users and roles."""

from jotunheim.data.account import RoleChange, RoleSpec, UserChange, UserSpec
from jotunheim.data.account_answers import RoleAnswer, RoleList, UserAnswer, UserList
from jotunheim.routes.call import Call, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import RoleListQuery, UserListQuery
from jotunheim.services.accounts import roles, users

operations = Operations("/admin", role="admin")


@operations.get("/users", scope="users:read", answer=UserList, query=UserListQuery)
def list_users(call: Call[None, UserListQuery]) -> Reply:
    """List users."""
    found = users.list_users(call.query.wanted_page(), call.query.filters())
    return Reply(UserList.model_validate({"users": found.items, "meta": found.meta()}))


def _hash(call: Call[UserSpec, NoQuery]) -> str | None:
    return users.hash_of(call.body.password, call.body)


@operations.post("/users", scope="users:write", body=UserSpec, answer=UserAnswer, status=201, prepare=_hash)
def create_user(call: Call[UserSpec, NoQuery]) -> Reply:
    """Add a user. Without a password only tokens and tickets let them in."""
    user = users.create_user(call.body, call.prepared, call.actor)
    return Reply(UserAnswer(user=users.view(user)), etag=user.version)


@operations.get("/users/{id:row}", scope="users:read", answer=UserAnswer)
def read_user(call: Call[None, NoQuery]) -> Reply:
    """Show a user."""
    user = users.find(call.path["id"])
    return Reply(UserAnswer(user=users.view(user)), etag=user.version)


def _new_hash(call: Call[UserChange, NoQuery]) -> str | None:
    return users.hash_of(call.body.password, users.find(call.path["id"]))


@operations.patch(
    "/users/{id:row}", scope="users:write", body=UserChange, answer=UserAnswer, prepare=_new_hash
)
def change_user(call: Call[UserChange, NoQuery]) -> Reply:
    """Change, disable or enable a user; another password or role, and being disabled, end their sessions."""
    user = users.find(call.path["id"], call.if_match)
    users.change_user(user, call.body, call.prepared, call.actor)
    return Reply(UserAnswer(user=users.view(user)), etag=user.version)


@operations.delete("/users/{id:row}", scope="users:write", answer=UserAnswer)
def delete_user(call: Call[None, NoQuery]) -> Reply:
    """Delete a user who owns no server, with their tokens, sessions and SSH keys."""
    user = users.find(call.path["id"], call.if_match)
    answer = UserAnswer(user=users.view(user))
    users.delete_user(user, call.actor)
    return Reply(answer)


@operations.get("/roles", scope="users:read", answer=RoleList, query=RoleListQuery)
def list_roles(call: Call[None, RoleListQuery]) -> Reply:
    """List roles."""
    found = roles.list_roles(call.query.wanted_page(), call.query.filters())
    return Reply(RoleList.model_validate({"roles": found.items, "meta": found.meta()}))


@operations.post("/roles", scope="users:write", body=RoleSpec, answer=RoleAnswer, status=201)
def create_role(call: Call[RoleSpec, NoQuery]) -> Reply:
    """Add a role: what users who have it may do."""
    role = roles.create_role(call.body, call.actor)
    return Reply(RoleAnswer(role=roles.view(role)), etag=role.version)


@operations.get("/roles/{id:row}", scope="users:read", answer=RoleAnswer)
def read_role(call: Call[None, NoQuery]) -> Reply:
    """Show a role."""
    role = roles.find(call.path["id"])
    return Reply(RoleAnswer(role=roles.view(role)), etag=role.version)


@operations.patch("/roles/{id:row}", scope="users:write", body=RoleChange, answer=RoleAnswer)
def change_role(call: Call[RoleChange, NoQuery]) -> Reply:
    """Change what users who have a role may do, from now on."""
    role = roles.find(call.path["id"], call.if_match)
    roles.change_role(role, call.body, call.actor)
    return Reply(RoleAnswer(role=roles.view(role)), etag=role.version)


@operations.delete("/roles/{id:row}", scope="users:write", answer=RoleAnswer)
def delete_role(call: Call[None, NoQuery]) -> Reply:
    """Delete a role that nobody has."""
    role = roles.find(call.path["id"], call.if_match)
    answer = RoleAnswer(role=roles.view(role))
    roles.delete_role(role, call.actor)
    return Reply(answer)
