"""What operators and owners alike can ask of one server: power, password, rebuild, snapshots, firewall. Each becomes a job."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from jotunheim.data.answers import FirewallAnswer, SnapshotList
from jotunheim.data.job import JobType
from jotunheim.data.server.firewall import Firewall
from jotunheim.data.server.requests import PasswordRequest, PowerRequest, RebuildRequest, SnapshotSpec
from jotunheim.data.server.view import SnapshotView
from jotunheim.exceptions.service import ConflictError
from jotunheim.repositories.peewee.servers import Server
from jotunheim.routes.call import Call, JobQuery, NoQuery, Reply
from jotunheim.routes.guards import unnamed_nodes
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import SnapshotListQuery
from jotunheim.services.servers import firewall, live, password, power, rebuild, snapshots
from jotunheim.services.servers.requests import Asked, assert_version


@dataclass(frozen=True)
class Module:
    """How one of the API's modules finds a server and answers.

    Attributes:
        find: the server in a call's path, when the caller may have it.
        queued: the answer to a request that became a job; in another shape than `answer`, and with more in it, when told so.
        queued_with_password: the same, with the password that was generated.
        answer, answer_with_password: the shapes of the two.
    """

    operations: Operations
    find: Callable[[Call[Any, Any]], Server]
    queued: Callable[..., Reply]
    queued_with_password: Callable[[Asked], Reply]
    answer: type[BaseModel]
    answer_with_password: type[BaseModel]
    tells_of_nodes: bool = False
    """Whether errors may name nodes and VMIDs."""


def add_requests(module: Module) -> None:
    """Register the requests with a module's operations."""
    _add_power_and_password(module)
    _add_rebuild(module)
    _add_snapshots(module)
    _add_firewall(module)


def _snapshots_in(module: Module) -> Callable[[Call[Any, Any]], list[SnapshotView]]:
    """What a module's operations prepare when they need to know a server's snapshots: the node is asked."""

    def prepare(call: Call[Any, Any]) -> list[SnapshotView]:
        server = module.find(call)
        with unnamed_nodes(not module.tells_of_nodes):
            try:
                return live.snapshots(server, call.context.keyring, call.context.settings)
            except ConflictError:
                if module.tells_of_nodes:
                    raise
                raise ConflictError("The hypervisor does not have this server.") from None

    return prepare


def _add_power_and_password(module: Module) -> None:
    @module.operations.job("/servers/{id:uuid}/power", JobType.POWER, body=PowerRequest, answer=module.answer)
    def change_power(call: Call[PowerRequest, JobQuery]) -> Reply:
        """Start, shut down, stop, reboot or reset a server."""
        return module.queued(power.set_power(module.find(call), call.body, call.actor, call.manner))

    @module.operations.job(
        "/servers/{id:uuid}/password",
        JobType.PASSWORD,
        body=PasswordRequest,
        answer=module.answer_with_password,
    )
    def change_password(call: Call[PasswordRequest, JobQuery]) -> Reply:
        """Give a server's account a new password."""
        asked = password.set_password(
            module.find(call), call.body, call.actor, call.context.keyring, call.manner
        )
        return module.queued_with_password(asked)


def _add_rebuild(module: Module) -> None:
    @module.operations.job(
        "/servers/{id:uuid}/rebuild",
        JobType.REBUILD,
        body=RebuildRequest,
        answer=module.answer_with_password,
        prepare=_snapshots_in(module),
    )
    def rebuild_server(call: Call[RebuildRequest, JobQuery]) -> Reply:
        """Give a server a new system disk from a template; the old one goes when the new one is good."""
        asked = rebuild.rebuild(
            module.find(call),
            call.body,
            call.prepared,
            call.actor,
            call.context.settings,
            call.context.keyring,
            call.manner,
        )
        return module.queued_with_password(asked)


def _add_snapshots(module: Module) -> None:
    path = "/servers/{id:uuid}/snapshots"
    prepare = _snapshots_in(module)

    @module.operations.get(
        path, scope="servers:read", answer=SnapshotList, query=SnapshotListQuery, prepare=prepare
    )
    def list_snapshots(call: Call[None, SnapshotListQuery]) -> Reply:
        """List a server's snapshots, as its node has them."""
        found = snapshots.page_of(call.prepared, call.query.wanted_page())
        return Reply(SnapshotList.model_validate({"snapshots": found.items, "meta": found.meta()}))

    @module.operations.job(
        path, JobType.SNAPSHOT_CREATE, body=SnapshotSpec, answer=module.answer, prepare=prepare
    )
    def create_snapshot(call: Call[SnapshotSpec, JobQuery]) -> Reply:
        """Make a snapshot of a server."""
        return module.queued(
            snapshots.create_snapshot(module.find(call), call.body, call.prepared, call.actor, call.manner)
        )

    @module.operations.job(
        path + "/{name:str}/rollback", JobType.SNAPSHOT_ROLLBACK, answer=module.answer, prepare=prepare
    )
    def roll_back_server(call: Call[None, JobQuery]) -> Reply:
        """Return a server to a snapshot; what was written since is lost."""
        return module.queued(
            snapshots.roll_back(module.find(call), call.path["name"], call.prepared, call.actor, call.manner)
        )

    @module.operations.job(
        path + "/{name:str}", JobType.SNAPSHOT_DELETE, method="DELETE", answer=module.answer, prepare=prepare
    )
    def delete_snapshot(call: Call[None, JobQuery]) -> Reply:
        """Delete a snapshot of a server."""
        server = module.find(call)
        assert_version(server, call.if_match)
        return module.queued(
            snapshots.delete_snapshot(server, call.path["name"], call.prepared, call.actor, call.manner)
        )


def _add_firewall(module: Module) -> None:
    path = "/servers/{id:uuid}/firewall"

    @module.operations.get(path, scope="servers:read", answer=FirewallAnswer)
    def read_firewall(call: Call[None, NoQuery]) -> Reply:
        """Show a server's firewall, as it is wanted."""
        server = module.find(call)
        return Reply(firewall.answer(server), etag=server.version)

    @module.operations.job(path, JobType.FIREWALL, method="PUT", body=Firewall, answer=module.answer)
    def set_firewall(call: Call[Firewall, JobQuery]) -> Reply:
        """Set a server's firewall as a whole: what is left out is as at the beginning. Anti-spoofing stays."""
        server = module.find(call)
        assert_version(server, call.if_match)
        return module.queued(firewall.set_firewall(server, call.body, call.actor, call.manner))
