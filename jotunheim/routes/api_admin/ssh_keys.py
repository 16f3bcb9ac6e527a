"""The SSH keys of all users."""

from jotunheim.data.answers import UserSshKeyAnswer, UserSshKeyList
from jotunheim.data.ssh_key import SshKeyChange, UserSshKeySpec
from jotunheim.repositories.peewee.ssh_keys import SshKey
from jotunheim.routes.call import Call, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import UserSshKeyListQuery
from jotunheim.services import ssh_keys

operations = Operations("/admin", role="admin")


def _answer(key: SshKey) -> UserSshKeyAnswer:
    return UserSshKeyAnswer(ssh_key=ssh_keys.view(key))


@operations.get("/ssh-keys", scope="servers:read", answer=UserSshKeyList, query=UserSshKeyListQuery)
def list_ssh_keys(call: Call[None, UserSshKeyListQuery]) -> Reply:
    """List the SSH keys that users keep."""
    query = call.query
    user_id = call.actor.user_id if query.mine else query.user_id
    found = ssh_keys.list_keys(query.wanted_page(), user_id, query.name, query.fingerprint)
    return Reply(UserSshKeyList.model_validate({"ssh_keys": found.items, "meta": found.meta()}))


@operations.post("/ssh-keys", scope="servers:write", body=UserSshKeySpec, answer=UserSshKeyAnswer, status=201)
def create_ssh_key(call: Call[UserSshKeySpec, NoQuery]) -> Reply:
    """Keep a public key for a user, or for yourself; servers made for them from now on get it."""
    key = ssh_keys.create_key(call.body, call.body.user_id or call.actor.user_id)
    return Reply(_answer(key), etag=key.version)


@operations.get("/ssh-keys/{id:row}", scope="servers:read", answer=UserSshKeyAnswer)
def read_ssh_key(call: Call[None, NoQuery]) -> Reply:
    """Show a key of a user."""
    key = ssh_keys.find(call.path["id"])
    return Reply(_answer(key), etag=key.version)


@operations.patch("/ssh-keys/{id:row}", scope="servers:write", body=SshKeyChange, answer=UserSshKeyAnswer)
def change_ssh_key(call: Call[SshKeyChange, NoQuery]) -> Reply:
    """Give a key of a user another name."""
    key = ssh_keys.find(call.path["id"], if_match=call.if_match)
    ssh_keys.change_key(key, call.body)
    return Reply(_answer(key), etag=key.version)


@operations.delete("/ssh-keys/{id:row}", scope="servers:write", answer=UserSshKeyAnswer)
def delete_ssh_key(call: Call[None, NoQuery]) -> Reply:
    """Forget a key of a user; servers that have it keep it."""
    key = ssh_keys.find(call.path["id"], if_match=call.if_match)
    key.remove()
    return Reply(_answer(key))
