"""Taking uploaded ISO images, container templates and disk images."""

import hashlib
import re

from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.errors import bad_params, failure
from jotunheim.sandbox.state import Volume
from jotunheim.sandbox.tasks import Worker

routes = Routes()

EXTENSIONS = {
    "iso": (".iso", ".img"),
    "vztmpl": (".tar.gz", ".tar.xz", ".tar.zst"),
    "import": (".qcow2", ".raw", ".vmdk", ".ova"),
}


def checked_filename(kind: str, sent: str) -> str:
    """The name of a file of a content type, as PVE normalises it.

    Raises:
        ApiError: 400, no such file is called so.
    """
    filename = re.sub(r"[^a-zA-Z0-9_.-]", "_", sent.rpartition("/")[2].rpartition("\\")[2])
    ending = next((ending for ending in EXTENSIONS[kind] if filename.endswith(ending)), "")
    if not ending or filename == ending:
        why = "invalid filename or wrong extension" if kind == "import" else "wrong file extension"
        raise bad_params(filename=why)
    return filename


def format_of(kind: str, filename: str) -> str:
    """The format of a file, as the storage's content shows it."""
    ending = filename.rpartition(".")[2]
    return {"iso": "iso", "vztmpl": f"t{ending}"}.get(kind, ending)


def digest_of(volume: Volume, algorithm: str) -> str:
    """The digest of a file; of one that nobody has sent or fetched, one that no file has."""
    known = volume.digests.get(algorithm)
    return known or hashlib.new(algorithm, volume.volid.encode(), usedforsecurity=False).hexdigest()


@routes("POST", "/nodes/{node}/storage/{storage}/upload")
async def upload(call: Call) -> str:
    """Take an uploaded ISO image, container template or disk image."""
    world, sent = call.world, call.upload
    storage, kind = world.volumes.storage(call.params["storage"]), str(call.params["content"])
    if sent is None:
        raise bad_params(filename="property is missing and it is not optional")
    if kind not in storage.content:
        raise failure(f"storage '{storage.name}' does not support '{kind}' content")
    filename = checked_filename(kind, sent.filename)
    if call.get("checksum") and not call.get("checksum-algorithm"):
        raise bad_params(checksum="checksum without an algorithm")
    temporary, volid = str(call.params["tmpfilename"]), f"{storage.name}:{kind}/{filename}"
    target, algorithm = world.volumes.path(volid), call.get("checksum-algorithm")

    async def work(worker: Worker) -> None:
        worker.say(f"starting file import from: {temporary}")
        if algorithm:
            worker.say("calculating checksum...")
            got, expected = sent.digests[algorithm], str(call.get("checksum", "")).lower()
            if got != expected:
                raise failure(f"checksum mismatch: got '{got}' != expect '{expected}'")
            worker.say("OK, checksum verified")
        worker.say(f"target node: {call.node}")
        worker.say(f"target file: {target}")
        worker.say(f"file size is: {sent.size}")
        worker.say(f"command: cp -- {temporary} {target}")
        await world.sleep("upload")
        if not world.volumes.fits(storage, call.node, sent.size):
            raise failure(f"import failed: cp: error writing '{target}': No space left on device")
        old = world.volumes.find(call.node, volid)
        if old:
            world.volumes.remove(old)
        form = format_of(kind, filename)
        volume = world.volumes.create(
            call.node, volid, vmid=None, size=sent.size, used=sent.size, kind=kind, format=form
        )
        volume.digests = sent.digests
        worker.say("finished file import successfully")

    return call.task("imgcopy", "", work)
