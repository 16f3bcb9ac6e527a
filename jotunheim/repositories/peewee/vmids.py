"""VMIDs: which one a server can get, and those that nodes use for VMs that are not ours."""

from collections.abc import Iterable

from peewee import ForeignKeyField, IntegerField

from jotunheim.repositories.peewee.database import Table, UtcField, database, now, serialize
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.servers import Server


class ForeignVmid(Table):
    """A VMID in our range that a node uses for a VM that is not ours, noted when a build met it."""

    vmid = IntegerField(primary_key=True)
    node = ForeignKeyField(Node, on_delete="CASCADE")
    seen_at = UtcField(default=now)

    @classmethod
    def note(cls, node: Node, vmids: Iterable[int]) -> None:
        """Remember VMIDs that must not be handed out."""
        for vmid in vmids:
            cls.insert(vmid=vmid, node=node, seen_at=now()).on_conflict_ignore().execute()


def claim_vmid(vmid: int) -> bool:
    """Let a VMID that a node uses be a server's; False: a server has it.

    Call it in the transaction that stores the server, as `lowest_free_vmid`.
    """
    serialize("vmid")
    ForeignVmid.delete().where(ForeignVmid.vmid == vmid).execute()
    return not Server.vmids_among([vmid])


def lowest_free_vmid(first: int, last: int) -> int | None:
    """The lowest VMID of a range that no server has and no node is known to use; None when there is none.

    Call it in the transaction that stores the result: others that ask wait until that ends.
    """
    serialize("vmid")
    row = database.execute_sql(
        _LOWEST_FREE_VMID.format(param=database.obj.param), (first, first, first, first, last)
    ).fetchone()
    found: int | None = row[0]
    return found


_LOWEST_FREE_VMID = """
    SELECT MIN(candidate) FROM (
        SELECT {param} AS candidate
        UNION ALL SELECT vmid + 1 FROM server WHERE vmid >= {param}
        UNION ALL SELECT scratch_vmid + 1 FROM server WHERE scratch_vmid >= {param}
        UNION ALL SELECT vmid + 1 FROM foreign_vmid WHERE vmid >= {param}
    ) AS candidates
    WHERE candidate <= {param}
      AND NOT EXISTS (SELECT 1 FROM server WHERE vmid = candidate OR scratch_vmid = candidate)
      AND NOT EXISTS (SELECT 1 FROM foreign_vmid WHERE vmid = candidate)
"""
