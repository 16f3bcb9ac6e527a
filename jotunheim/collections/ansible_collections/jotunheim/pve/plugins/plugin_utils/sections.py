"""All sections of a VM's configuration, one after the other: what `vm_config` writes and `vm_drift` compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import options
from ansible_collections.jotunheim.pve.plugins.plugin_utils.cloudinit import cloudinit
from ansible_collections.jotunheim.pve.plugins.plugin_utils.disk import disk
from ansible_collections.jotunheim.pve.plugins.plugin_utils.general import boot_order, general
from ansible_collections.jotunheim.pve.plugins.plugin_utils.iso import iso
from ansible_collections.jotunheim.pve.plugins.plugin_utils.network import network
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan


def sections(
    config: Mapping[str, Any], args: Mapping[str, Any], plan: Plan, *, uuid: str, password: str | None = None
) -> Iterator[Callable[[], Plan]]:
    """What makes the plan of each section that is given. Add each to `plan` before the next one is asked for.

    Args:
        args: options of `vm_config`.
        uuid: the server's.
        password: what cloud-init shall set.
    """
    yield lambda: general(config, options.general_of(args))
    for device in args["networks"] or ():
        yield partial(network, config, options.network_of(device))
    if args["cloudinit"] is not None:
        wanted = options.cloudinit_of(args["cloudinit"], password)
        yield lambda: cloudinit(config, wanted, uuid)
    if args["disk"] is not None:
        yield lambda: disk(config, options.disk_of(args["disk"]))
    if args["boot_order"] is not None:
        # With the devices that this request adds; the other sections stand in the plan by now.
        yield lambda: boot_order(plan.applied_to(config), args["boot_order"])
    if args["iso"] is not None:
        # Behind what the others plan: it takes a place that is still free, and the end of the new boot order.
        yield lambda: iso(plan.applied_to(config), args["iso"])
