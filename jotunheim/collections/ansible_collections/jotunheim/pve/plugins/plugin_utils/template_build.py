"""The phases of building a template: the image comes to the node, becomes the template, and goes again.

Each looks at what is there and does what is left to do. The image is needed as long as there is no VM that was made from it.
"""

from __future__ import annotations

from ansible_collections.jotunheim.pve.plugins.plugin_utils import template_image, template_vm
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.template import (
    Stage,
    Wanted,
    check_unlinked,
    look,
)
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

_NEEDS_IMAGE = frozenset({Stage.ABSENT, Stage.OTHER})


def fetch(vm: Vm, wanted: Wanted, *, checking: bool) -> Plan:
    """Fetch the image, unless the template is there and needs none.

    Raises:
        VmidTakenError, TemplateDiffersError, TemplateInUseError: nothing could be made of the image.
        DataValidationError: the storages do not take image or disk.
    """
    found = look(vm, wanted)
    if found.stage not in _NEEDS_IMAGE:
        return Plan()
    if found.stage is Stage.OTHER:
        check_unlinked(vm, found.config)
    template_image.check_storages(vm, wanted)
    return template_image.fetch(vm, wanted, checking=checking)


def make(vm: Vm, wanted: Wanted, *, checking: bool) -> Plan:
    """Make the template, see `template_vm.make`."""
    return template_vm.make(vm, wanted, checking=checking)


def clean(vm: Vm, wanted: Wanted, *, checking: bool) -> Plan:
    """Remove the image, if it shall not be kept, once the template is there."""
    if wanted.keep_image:
        return Plan()
    stage = look(vm, wanted).stage
    if not checking and stage is not Stage.DONE:
        return Plan()
    # In check mode an earlier task of the play would have fetched it.
    fetched = checking and stage in _NEEDS_IMAGE
    if not fetched and not template_image.is_there(vm, wanted):
        return Plan()
    if not checking:
        template_image.remove(vm, wanted)
    return Plan(changes=[Change("image", wanted.volid, None)])
