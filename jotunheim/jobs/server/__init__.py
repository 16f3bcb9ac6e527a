"""Jobs about servers."""

from jotunheim.jobs.server import (
    build,
    configure,
    delete,
    firewall,
    importing,
    password,
    power,
    rebuild,
    snapshots,
    suspension,
)

KINDS = (
    build.KIND,
    configure.KIND,
    delete.KIND,
    firewall.KIND,
    importing.KIND,
    password.KIND,
    power.KIND,
    rebuild.KIND,
    *snapshots.KINDS,
    *suspension.KINDS,
)
