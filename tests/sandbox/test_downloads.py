"""Files that a node fetches from a URL, and VMs made from them."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from jotunheim.sandbox.tls import load_or_make
from tests.sandbox.requests import VM, Pve
from tests.sandbox.test_permissions import grant, limited
from tests.support.images import ImageServer, image_server, qcow2, sha256

__all__ = ["limited"]

LOCAL = "/nodes/pve1/storage/local"
GIB = 1024**3
IMAGE = qcow2(2 * GIB)


@pytest.fixture(scope="module")
def web() -> Iterator[ImageServer]:
    with image_server() as served:
        yield served


def fetch(pve: Pve, url: str, filename: str = "debian.qcow2", **params: Any) -> str:
    """The end of the task that fetches a disk image."""
    return pve.task(
        "POST", f"{LOCAL}/download-url", **{"content": "import", "url": url, "filename": filename, **params}
    )


def files(pve: Pve) -> dict[str, dict[str, Any]]:
    return {entry["volid"]: entry for entry in pve.ok("GET", f"{LOCAL}/content")}


def test_a_disk_image_is_fetched_and_becomes_a_disk(pve: Pve, web: ImageServer) -> None:
    url = web.serve("/debian.qcow2", IMAGE)
    upid = pve.ok(
        "POST",
        f"{LOCAL}/download-url",
        content="import",
        url=url,
        filename="debian 12.qcow2",
        checksum=sha256(IMAGE).upper(),
        checksum_algorithm="sha256",
    )
    assert upid.split(":")[5:7] == ["download", "debian_12.qcow2"]
    assert pve.ended(upid) == "OK"
    log = [line["t"] for line in pve.ok("GET", f"/nodes/pve1/tasks/{upid}/log", limit=0)]
    target = "/var/lib/vz/import/debian_12.qcow2"
    assert (log[0], log[-2]) == (
        f"downloading {url} to {target}",
        f"download of '{url}' to '{target}' finished",
    )
    volid = "local:import/debian_12.qcow2"
    found = files(pve)[volid]
    assert (found["size"], found["format"], found["content"]) == (len(IMAGE), "qcow2", "import")
    assert pve.ok("GET", f"{LOCAL}/content/import/debian_12.qcow2")["size"] == 2 * GIB
    made = pve.task("POST", VM, vmid=300, scsi0=f"vmstore:0,import-from={volid}")
    assert made == "OK"
    assert pve.config(300)["scsi0"] == "vmstore:300/vm-300-disk-0.qcow2,size=2G"


def test_an_existing_file_is_compared_and_never_replaced(pve: Pve, web: ImageServer) -> None:
    url = web.serve("/one.qcow2", IMAGE)
    assert fetch(pve, url) == "OK"
    web.requests.clear()
    right = {"checksum": sha256(IMAGE), "checksum_algorithm": "sha256"}
    assert fetch(pve, url, **right) == "OK"
    target = "/var/lib/vz/import/debian.qcow2"
    assert fetch(pve, url) == f"refusing to override existing file '{target}'"
    wrong = f"checksum mismatch: got '{sha256(IMAGE)}' != expect '{'0' * 64}', aborting"
    assert fetch(pve, url, **right | {"checksum": "0" * 64}) == wrong
    assert web.requests == []
    assert list(files(pve)).count("local:import/debian.qcow2") == 1


def test_what_cannot_be_had_fails_late_and_leaves_nothing(pve: Pve, web: ImageServer, tmp_path: Path) -> None:
    before = files(pve)
    url = web.serve("/two.qcow2", IMAGE)
    web.serve("/text.qcow2", b"<html>Not what you think</html>")
    web.serve("/backed.qcow2", qcow2(GIB, backing=512))
    web.redirects["/loop"] = f"{web.url}/loop"
    web.redirects["/elsewhere"] = "file:///etc/passwd"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        ends = {
            "404": fetch(pve, f"{web.url}/nothing"),
            "checksum": fetch(pve, url, checksum="0" * 128, checksum_algorithm="sha512"),
            "refused": fetch(pve, f"{nobody}/x.qcow2"),
            "format": fetch(pve, f"{web.url}/text.qcow2"),
            "backing": fetch(pve, f"{web.url}/backed.qcow2"),
            "loop": fetch(pve, f"{web.url}/loop"),
            "elsewhere": fetch(pve, f"{web.url}/elsewhere"),
            "no host": fetch(pve, "http://"),
        }
    assert ends["404"] == "download failed: exit code 8"
    assert ends["checksum"].startswith("checksum mismatch: got '")
    assert ends["refused"].startswith("download failed: Connecting to 127.0.0.1:")
    assert "Image is not in qcow2 format" in ends["format"]
    assert "backing file not allowed" in ends["backing"]
    assert ends["loop"] == "download failed: 5 redirections exceeded."
    assert ends["elsewhere"] == ends["no host"] == "download failed: Giving up."
    with image_server(load_or_make(tmp_path, "127.0.0.1").context()) as safe:
        url = safe.serve("/debian.qcow2", IMAGE)
        assert fetch(pve, url).startswith("download failed: To connect to 127.0.0.1 insecurely")
        assert files(pve) == before
        assert fetch(pve, url, verify_certificates=0) == "OK"


def test_a_full_storage_takes_no_file(pve: Pve, web: ImageServer) -> None:
    url = web.serve("/three.qcow2", IMAGE)
    pve.control.patch("/storages/local", json={"other_used": 4096 * GIB}).raise_for_status()
    assert "No space left on device" in fetch(pve, url)
    assert "local:import/debian.qcow2" not in files(pve)


def test_a_download_that_is_stopped_leaves_nothing(pve: Pve, web: ImageServer) -> None:
    url = web.serve("/four.qcow2", IMAGE)
    web.gate.clear()
    upid = pve.ok("POST", f"{LOCAL}/download-url", content="import", url=url, filename="x.qcow2")
    pve.ok("DELETE", f"/nodes/pve1/tasks/{upid}")
    assert pve.ended(upid) != "OK"
    web.gate.set()
    assert "local:import/x.qcow2" not in files(pve)


def test_bad_requests_are_refused_at_once(pve: Pve, web: ImageServer) -> None:
    url, path = web.serve("/debian.qcow2", IMAGE), f"{LOCAL}/download-url"
    web.requests.clear()

    def errors(**changes: Any) -> Any:
        asked = {"content": "import", "url": url, "filename": "x.qcow2", **changes}
        answer = pve.send("POST", path, **asked)
        assert answer.status_code == 400, answer.text
        return answer.json()["errors"]

    wrong_name = {"filename": "invalid filename or wrong extension"}
    for name in ("x.img", "x.iso", ".qcow2", "", "x.qcow2/"):
        assert errors(filename=name) == wrong_name
    assert errors(content="iso", filename="x.qcow2") == {"filename": "wrong file extension"}
    assert "url" in errors(url="ftp://example.org/x.qcow2")
    assert "checksum-algorithm" in errors(checksum="00")
    assert "checksum" in errors(checksum_algorithm="sha256")
    assert "checksum-algorithm" in errors(checksum="00", checksum_algorithm="crc32")
    assert "content" in errors(content="images")
    elsewhere = {"content": "import", "url": url, "filename": "x.qcow2"}
    assert pve.message("POST", "/nodes/pve1/storage/vmstore/download-url", **elsewhere) == (
        500,
        "storage 'vmstore' is not configured for content-type 'import'",
    )
    refused = pve.message("POST", path, **elsewhere | {"compression": "gz"})
    assert refused[0] == 501
    assert web.requests == []


def test_who_may_fetch_and_import(pve: Pve, web: ImageServer, limited: httpx.Client) -> None:
    url = web.serve("/debian.qcow2", IMAGE)
    asked = {"content": "import", "url": url, "filename": "x.qcow2"}

    def status() -> int:
        return limited.post(f"{LOCAL}/download-url", data=asked).status_code

    roles = {
        "Images": "Datastore.AllocateTemplate,Datastore.Audit",
        "Disks": "Datastore.AllocateSpace",
        "Net": "Sys.AccessNetwork",
        "Make": "VM.Allocate,VM.Config.Disk",
    }
    for role, privileges in roles.items():
        pve.ok("POST", "/access/roles", roleid=role, privs=privileges)
    assert status() == 403
    grant(pve, "/storage/local", "Images")
    assert status() == 403
    grant(pve, "/nodes/pve1", "Net")
    assert status() == 200

    pve.ok("POST", "/access/roles", roleid="Nothing", privs="Datastore.AllocateTemplate")
    grant(pve, "/vms", "Make")
    grant(pve, "/storage/vmstore", "Disks")
    disk = {"vmid": 301, "scsi0": "vmstore:0,import-from=local:import/debian-12-genericcloud-local.qcow2"}
    assert limited.post(VM, data=disk).status_code == 200
    for role in ("Images", "Nothing"):
        for kind, who in (("users", "bob@pve"), ("tokens", "bob@pve!probe")):
            remove = int(role == "Images")
            pve.ok("PUT", "/access/acl", path="/storage/local", roles=role, delete=remove, **{kind: who})
    assert limited.post(VM, data=disk | {"vmid": 302}).status_code == 403


def test_an_import_is_asked_for_as_pve_wants_it(pve: Pve) -> None:
    image = "local:import/debian-12-genericcloud-local.qcow2"
    answer = pve.send("POST", VM, vmid=303, scsi0=f"vmstore:8,import-from={image}")
    assert "requires special syntax" in answer.json()["errors"]["scsi0"]
    assert pve.message("POST", VM, vmid=303, scsi0="vmstore:0,import-from=local:import/no.qcow2")[0] == 500
    answer = pve.send("POST", VM, vmid=303, scsi0="vmstore:0,import-from=local:iso/no.iso")
    assert "needs to be 'images' or 'import'" in answer.json()["errors"]["import-from"]
    assert [vm["vmid"] for vm in pve.ok("GET", VM)] == [9000]


def test_what_a_server_says_of_a_file(pve: Pve, web: ImageServer) -> None:
    path = "/nodes/pve1/query-url-metadata"
    url = web.serve("/debian.qcow2", IMAGE)
    expected = {"filename": "debian.qcow2", "mimetype": "application/octet-stream", "size": len(IMAGE)}
    assert pve.ok("GET", path, url=f"{url}?x=1") == expected
    assert pve.message("GET", path, url=f"{web.url}/no") == (500, "invalid server response: '404 Not Found'")
    assert pve.message("GET", path, url="http://127.0.0.1:9/x")[0] == 500
