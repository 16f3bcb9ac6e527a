"""Files that a node fetches from a URL: ISO images, container templates and disk images.

The URL is really asked: that gives the file its size, its digests and, for a disk image, the size of the disk in it. What comes
is not kept, as nothing in the sandbox looks into images.
"""

import re
from typing import Any

import aiohttp

from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.diskimages import virtual_size
from jotunheim.sandbox.errors import failure
from jotunheim.sandbox.fetch import fetch, request
from jotunheim.sandbox.images import checked_filename, digest_of, format_of
from jotunheim.sandbox.tasks import Worker

routes = Routes()


@routes("POST", "/nodes/{node}/storage/{storage}/download-url")
async def download(call: Call) -> str:
    """Fetch an ISO image, container template or disk image."""
    world, url, kind = call.world, str(call.params["url"]), str(call.params["content"])
    storage = world.volumes.storage(call.params["storage"])
    if kind not in storage.content:
        raise failure(f"storage '{storage.name}' is not configured for content-type '{kind}'")
    filename = checked_filename(kind, str(call.params["filename"]))
    volid = f"{storage.name}:{kind}/{filename}"
    target = world.volumes.path(volid)
    expected, algorithm = str(call.get("checksum", "")).lower(), str(call.get("checksum-algorithm", ""))

    def is_there(worker: Worker) -> bool:
        """Whether the file need not be fetched; raises when another one is in its place."""
        found = world.volumes.find(call.node, volid)
        if found is None:
            return False
        if not expected:
            raise failure(f"refusing to override existing file '{target}'")
        worker.say("calculating checksum of existing file...")
        got = digest_of(found, algorithm)
        if got != expected:
            raise failure(f"checksum mismatch: got '{got}' != expect '{expected}', aborting")
        worker.say("OK, got correct file already, no need to download")
        return True

    async def work(worker: Worker) -> None:
        worker.say(f"downloading {url} to {target}")
        if is_there(worker):
            return
        temporary, room = f"{target}.tmp.{worker.task.pid}", world.volumes.available(storage, call.node)
        verify = bool(call.get("verify-certificates", 1))
        fetched = await fetch(url, temporary, verify=verify, room=room, say=worker.say)
        await world.sleep("download")
        if expected:
            worker.say("calculating checksum...")
            if fetched.digests[algorithm] != expected:
                got = fetched.digests[algorithm]
                raise failure(f"checksum mismatch: got '{got}' != expect '{expected}'")
            worker.say("OK, checksum verified")
        form = format_of(kind, filename)
        disk = virtual_size(form, fetched.head, fetched.size, temporary) if kind == "import" else None
        old = world.volumes.find(call.node, volid)
        if old:  # another download of the same file was quicker; the last one that is renamed stays
            world.volumes.remove(old)
        size = fetched.size
        volume = world.volumes.create(
            call.node, volid, vmid=None, size=size, used=size, kind=kind, format=form
        )
        volume.virtual_size, volume.digests = disk, fetched.digests
        worker.say(f"download of '{url}' to '{target}' finished")

    return call.task("download", filename, work)


@routes("GET", "/nodes/{node}/query-url-metadata")
async def metadata(call: Call) -> dict[str, Any]:
    """What a server says of a file: its name, type and size."""
    url, headers = str(call.params["url"]), dict[str, str]()
    try:
        async with request("HEAD", url, verify=bool(call.get("verify-certificates", 1))) as answer:
            status = f"{answer.status} {answer.reason}"
            headers = {name.title(): value for name, value in answer.headers.items()}
    except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
        status = f"500 {str(error) or type(error).__name__}"
    if not status.startswith("200 "):
        raise failure(f"invalid server response: '{status}'")
    data: dict[str, Any] = {}
    named = re.search(r'filename="([^"]*)"|filename=([^;]*)', headers.get("Content-Disposition", ""))
    in_path = re.fullmatch(r"[^?]+/([^?/]*)(\?.*)?", url)
    filename = (named[1] or named[2]) if named else in_path[1] if in_path else ""
    if filename:
        data["filename"] = filename
    if headers.get("Content-Length", "").isdigit():
        data["size"] = int(headers["Content-Length"])
    if "Content-Type" in headers:
        data["mimetype"] = headers["Content-Type"].partition(";")[0]
    return data
