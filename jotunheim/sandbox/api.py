"""Which module handles which method of the schema. What nobody handles answers 501."""

from jotunheim.sandbox import (
    access_api,
    agent,
    backups,
    clone,
    cloudinit,
    cluster,
    config,
    consoles,
    create,
    destroy,
    disks,
    downloads,
    firewall,
    groups_api,
    guest_agent,
    images,
    ipsets,
    migrate,
    nodes,
    pools,
    power,
    snapshots,
    statistics,
    storage,
    tasks_api,
    users_api,
    vms,
)
from jotunheim.sandbox.call import Handler

MODULES = (
    access_api, agent, backups, cloudinit, clone, cluster, config, consoles, create, destroy, disks, downloads,
    firewall, groups_api, guest_agent, images, ipsets, migrate, nodes, pools, power, snapshots, statistics, storage, tasks_api, users_api,
    vms,
)  # fmt: skip

HANDLERS: dict[tuple[str, str], Handler] = {
    key: handler for module in MODULES for key, handler in module.routes.handlers.items()
}
