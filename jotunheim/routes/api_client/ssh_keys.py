"""The caller's own SSH keys."""

from jotunheim.data.answers import SshKeyAnswer, SshKeyList
from jotunheim.data.ssh_key import SshKeyChange, SshKeySpec
from jotunheim.repositories.peewee.ssh_keys import SshKey
from jotunheim.routes.call import Call, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import SshKeyListQuery
from jotunheim.services import ssh_keys

operations = Operations("/client", role="client")


def _answer(key: SshKey) -> SshKeyAnswer:
    return SshKeyAnswer.model_validate({"ssh_key": ssh_keys.view(key).model_dump()})


@operations.get("/ssh-keys", scope="servers:read", answer=SshKeyList, query=SshKeyListQuery)
def list_ssh_keys(call: Call[None, SshKeyListQuery]) -> Reply:
    """List the SSH keys that you keep."""
    query = call.query
    found = ssh_keys.list_keys(query.wanted_page(), call.actor.user_id, query.name, query.fingerprint)
    shown = [key.model_dump() for key in found.items]
    return Reply(SshKeyList.model_validate({"ssh_keys": shown, "meta": found.meta()}))


@operations.post("/ssh-keys", scope="servers:write", body=SshKeySpec, answer=SshKeyAnswer, status=201)
def create_ssh_key(call: Call[SshKeySpec, NoQuery]) -> Reply:
    """Keep a public key; servers that you make from now on get it."""
    key = ssh_keys.create_key(call.body, call.actor.user_id)
    return Reply(_answer(key), etag=key.version)


@operations.get("/ssh-keys/{id:row}", scope="servers:read", answer=SshKeyAnswer)
def read_ssh_key(call: Call[None, NoQuery]) -> Reply:
    """Show a key that you keep."""
    key = ssh_keys.find(call.path["id"], call.actor.user_id)
    return Reply(_answer(key), etag=key.version)


@operations.patch("/ssh-keys/{id:row}", scope="servers:write", body=SshKeyChange, answer=SshKeyAnswer)
def change_ssh_key(call: Call[SshKeyChange, NoQuery]) -> Reply:
    """Give a key that you keep another name."""
    key = ssh_keys.find(call.path["id"], call.actor.user_id, call.if_match)
    ssh_keys.change_key(key, call.body)
    return Reply(_answer(key), etag=key.version)


@operations.delete("/ssh-keys/{id:row}", scope="servers:write", answer=SshKeyAnswer)
def delete_ssh_key(call: Call[None, NoQuery]) -> Reply:
    """Forget a key; servers that have it keep it."""
    key = ssh_keys.find(call.path["id"], call.actor.user_id, call.if_match)
    key.remove()
    return Reply(_answer(key))
