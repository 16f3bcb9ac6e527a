"""The image that a template is made from, as a file on a storage of the node: fetched with its checksum, or removed."""

from __future__ import annotations

from urllib.parse import urlsplit

from ansible_collections.jotunheim.pve.plugins.plugin_utils import settle
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.template import Wanted, shown_url
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import ProxmoxRequestError, ProxmoxTaskFailedError
from jotunheim.repositories.proxmox import api_path, reads

_FETCH = "fetch image"
_REMOVE = "remove image"
_TASK = "download"


def check_storages(vm: Vm, wanted: Wanted) -> None:
    """Refuse storages that the node lacks or that do not take what shall be put there, before anything is fetched.

    Raises:
        DataValidationError: names each of them.
    """
    known = reads.storages(vm.client, vm.node)
    problems = []
    for field, name, content in (
        ("image_storage", wanted.image_storage, "import"),
        ("storage", wanted.storage, "images"),
    ):
        if name not in known:
            problems.append(
                FieldProblem(field, f"node {vm.node} has no storage {name} that the token may see")
            )
        elif content not in known[name].content:
            problems.append(
                FieldProblem(field, f"storage {name} of node {vm.node} lacks the content type `{content}`")
            )
    if problems:
        raise DataValidationError(problems)


def is_there(vm: Vm, wanted: Wanted) -> bool:
    """Whether the storage has the file."""
    path = api_path("nodes", vm.node, "storage", wanted.image_storage, "content")
    return any(entry.get("volid") == wanted.volid for entry in vm.client.get(path, content="import"))


def fetch(vm: Vm, wanted: Wanted, *, checking: bool) -> Plan:
    """Let the node fetch the image, or compare the file that is there already; a download that runs is waited for.

    Raises:
        ProxmoxTaskFailedError: it cannot be had, or has another checksum. Nothing is left of it.
    """
    there = is_there(vm, wanted)
    if not there and _wait_for_others(vm, wanted):
        there = is_there(vm, wanted)
    plan = Plan()
    if not there:
        plan.changes += [
            Change("image", None, wanted.volid),
            Change("image.url", None, shown_url(wanted.url)),
            Change("image.checksum", None, wanted.checksum),
        ]
    if not checking:
        _download(vm, wanted, there=there)
    return plan


def remove(vm: Vm, wanted: Wanted) -> None:
    """Remove the file."""
    vm.client.run(
        _REMOVE,
        "DELETE",
        api_path("nodes", vm.node, "storage", wanted.image_storage, "content", wanted.volid),
        timeout_seconds=wanted.timeout_seconds,
    )


def disk_bytes(vm: Vm, wanted: Wanted) -> int:
    """The size of the disk in the image."""
    path = api_path("nodes", vm.node, "storage", wanted.image_storage, "content", wanted.volid)
    return int(vm.client.get(path)["size"])


def _download(vm: Vm, wanted: Wanted, *, there: bool) -> None:
    """PVE does not fetch a file that it has, but hashes it: so nobody's file of the same name is ever taken for ours."""
    try:
        vm.client.run(
            _FETCH,
            "POST",
            api_path("nodes", vm.node, "storage", wanted.image_storage, "download-url"),
            timeout_seconds=wanted.timeout_seconds,
            url=wanted.url,
            content="import",
            filename=wanted.file_name,
            checksum=wanted.checksum,
            **{"checksum-algorithm": wanted.algorithm},
        )
    except ProxmoxRequestError as error:
        error.message = _without_query(error.message, wanted.url)
        error.args = (error.message,)
        if isinstance(error, ProxmoxTaskFailedError):
            error.hint = _hint(wanted, error.message, there=there)
        raise


def _hint(wanted: Wanted, message: str, *, there: bool) -> str:
    if "checksum mismatch" not in message:
        return f"The node itself fetches {shown_url(wanted.url)}: check that it can, and that this is a disk image."
    if there:
        return f"{wanted.volid} is another file. Remove it, or give another `image_name`."
    return "Compare the checksum with the publisher's list: the file there may be a newer one by now."


def _wait_for_others(vm: Vm, wanted: Wanted) -> bool:
    """Wait for downloads of this file that an interrupted run, or another host's, has begun; whether there were any."""
    listed = vm.client.get(api_path("nodes", vm.node, "tasks"), source="active")
    running = [
        str(task["upid"])
        for task in listed
        if task.get("type") == _TASK and task.get("id") == wanted.file_name and "endtime" not in task
    ]
    for upid in running:
        settle.wait_for_end(vm, upid, wanted.timeout_seconds)
    return bool(running)


def _without_query(text: str, url: str) -> str:
    """A text of PVE's, which quotes the URL as it likes, without the query."""
    query = urlsplit(url).query
    return text.replace(query, "********") if query else text
