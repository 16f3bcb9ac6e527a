"""What operators and owners alike can ask about ISO images: which there are, mounting and unmounting one."""

from typing import Any

from pydantic import BaseModel

from jotunheim.data.job import JobType
from jotunheim.data.server.iso import IsoRequest, IsoView
from jotunheim.routes.call import Call, JobQuery, Reply
from jotunheim.routes.guards import unnamed_nodes
from jotunheim.routes.queries import IsoListQuery
from jotunheim.routes.requests import Module
from jotunheim.services.servers import iso, live
from jotunheim.services.servers.requests import assert_version


def add_isos(module: Module, answer: type[BaseModel]) -> None:
    """Register the requests with a module's operations.

    Args:
        answer: the shape of the list: its images as this module shows them.
    """

    def prepare(call: Call[Any, Any]) -> list[IsoView]:
        server = module.find(call)
        with unnamed_nodes(not module.tells_of_nodes):
            return live.images(server, call.context.keyring, call.context.settings)

    @module.operations.get(
        "/servers/{id:uuid}/isos", scope="servers:read", answer=answer, query=IsoListQuery, prepare=prepare
    )
    def list_isos(call: Call[None, IsoListQuery]) -> Reply:
        """List the ISO images that a server can be given, as its node has them."""
        found = iso.list_images(call.prepared, call.query.wanted_page(), call.query.name)
        shown = [image.model_dump() for image in found.items]
        return Reply(answer.model_validate({"isos": shown, "meta": found.meta()}))

    @module.operations.job(
        "/servers/{id:uuid}/iso", JobType.CONFIGURE, body=IsoRequest, answer=module.answer, prepare=prepare
    )
    def mount_iso(call: Call[IsoRequest, JobQuery]) -> Reply:
        """Put an ISO image into a server's CD-ROM drive, in place of another one."""
        asked = iso.mount(module.find(call), call.body, call.prepared, call.actor, call.manner)
        return module.queued(asked)

    @module.operations.job("/servers/{id:uuid}/iso", JobType.CONFIGURE, method="DELETE", answer=module.answer)
    def unmount_iso(call: Call[None, JobQuery]) -> Reply:
        """Take the ISO image out of a server's CD-ROM drive."""
        server = module.find(call)
        assert_version(server, call.if_match)
        return module.queued(iso.unmount(server, call.actor, call.manner))
