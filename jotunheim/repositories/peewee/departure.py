"""What goes with a server when it goes."""

from jotunheim.repositories.peewee.addresses import Address
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.secrets import Secret
from jotunheim.repositories.peewee.servers import Server


def forget(server: Server) -> None:
    """Remove a server from our records: name, VMID and addresses are free again, its jobs stay.

    Call it in the transaction that says why: its VM is proved to be gone, or was never made.
    """
    Job.cancel_scheduled(server)
    Address.release(server)
    Secret.erase(server.password_reference)
    server.delete_instance()
