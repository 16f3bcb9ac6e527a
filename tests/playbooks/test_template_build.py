"""`template_build.yml`, really run against the sandbox, which really fetches its images."""

import hashlib
import os
import re
import signal
from pathlib import Path
from typing import Any

from jotunheim.repositories.proxmox import template as templates
from jotunheim.services.nodes.privileges import grants
from tests.playbooks.pve_playbooks import ROOT, Playbooks, Sandbox, Unsafe
from tests.playbooks.pve_templates import GIB, IMAGE, NEWER, Builds, disks, images, made_once
from tests.playbooks.test_server_build import foreign_vm
from tests.support.images import ImageServer, sha256
from tests.support.processes import wait_for

HOSTILE = Unsafe("{{ lookup('pipe','id') }}")


class TestBuild:
    def test_an_image_becomes_a_template_once(
        self, builds: Builds, sandbox: Sandbox, web: ImageServer
    ) -> None:
        wanted: dict[str, Any] = {
            "pve_template_disk_bytes": 3 * GIB,
            "pve_template_cores": 2,
            "pve_template_memory_bytes": 2 * GIB,
        }
        before = sandbox.state()
        web.requests.clear()
        check = builds.ok("--check", **wanted)
        assert sandbox.state() == before
        assert {request.split()[0] for request in sandbox.requests()} == {"GET"}
        assert web.requests == []

        real = builds.ok(**wanted)
        assert check.diffs == real.diffs
        assert check.changed == real.changed == ["Fetch the image", "Make the template"]
        made_once(sandbox, disk="size=3G")
        config = sandbox.vm(9101)["config"]
        assert config["description"] == f"jotunheim:template={sha256(IMAGE)}"
        assert (config["name"], config["cores"], config["memory"]) == ("debian-1", 2, "2048")
        assert (config["agent"], config["serial0"], config["ostype"]) == ("1", "socket", "l26")
        assert (config["scsihw"], config["boot"]) == ("virtio-scsi-pci", "order=scsi0")
        assert config["ide2"] == "vmstore:9101/vm-9101-cloudinit.qcow2,media=cdrom"
        assert config["net0"].startswith("virtio=")
        assert config["net0"].endswith(",bridge=vmbr0")
        upids = [upid for result in real.all for upid in result.get("upids", [])]
        assert [upid.split(":")[5] for upid in upids] == ["download", "qmcreate", "resize", "qmtemplate"]
        with sandbox.client() as pve:
            facts = templates.read(pve, "pve1", 9101)
        assert (facts.is_template, facts.storage, facts.size_bytes) == (True, "vmstore", 3 * GIB)

        sandbox.forget_requests()
        web.requests.clear()
        again = builds.ok(**wanted)
        assert (again.changed, again.diffs, web.requests) == ([], {}, [])
        assert {request.split()[0] for request in sandbox.requests()} == {"GET"}

    def test_settings_of_a_finished_template_follow(self, builds: Builds, sandbox: Sandbox) -> None:
        builds.ok()
        change: dict[str, Any] = {"pve_template_name": Unsafe("renamed"), "pve_template_cores": 4}
        check = builds.ok("--check", **change)
        real = builds.ok(**change)
        expected = {"before": {"name": "debian-1", "cores": 1}, "after": {"name": "renamed", "cores": 4}}
        assert check.diffs == real.diffs == {"Make the template": expected}
        made_once(sandbox)

    def test_two_templates_of_one_image(self, builds: Builds, sandbox: Sandbox) -> None:
        results = builds.together(one={}, other={"pve_vmid": 9102})
        assert [result.get("failed", False) for result in results.values()] == [False, False]
        assert {vmid for vmid, vm in sandbox.vms().items() if vm["config"].get("template")} == {
            9000,
            9101,
            9102,
        }
        assert len(images(sandbox)) == 1

    def test_the_image_may_go_afterwards(self, builds: Builds, sandbox: Sandbox, web: ImageServer) -> None:
        check = builds.ok("--check", pve_template_keep_image=False)
        real = builds.ok(pve_template_keep_image=False)
        assert check.diffs == real.diffs
        assert len(real.changed) == 3
        assert images(sandbox) == []
        web.requests.clear()
        again = builds.ok(pve_template_keep_image=False)
        assert (again.changed, web.requests) == ([], [])

    def test_a_server_that_is_cloned_from_it_works_and_is_a_server(
        self, builds: Builds, playbooks: Playbooks, sandbox: Sandbox
    ) -> None:
        builds.ok()
        run = playbooks.build(pve_clone_template_vmid=9101, pve_clone_full=False)
        assert run.code == 0, run.output
        server = sandbox.vm(1101)
        assert server["status"] == "running"
        uuid = "00000000-0000-0000-0000-000000000001"
        assert server["config"]["description"] == f"jotunheim:server={uuid}\nThe first\nweb server"
        assert playbooks.build(pve_clone_template_vmid=9101, pve_clone_full=False).changed == []

        # Its linked clone keeps the template.
        before = sandbox.vm(9101)
        for arguments in (["--check"], []):
            refused = builds.run(*arguments, pve_template_replace=True, **builds.newer)
            assert refused.error["code"] == "template_in_use"
            assert "1101" in refused.error["message"]
        assert sandbox.vm(9101) == before


class TestByHand:
    def test_the_example_inventory(self, playbooks: Playbooks, sandbox: Sandbox, web: ImageServer) -> None:
        ready = sandbox.ready
        playbooks.environment = {
            "PVE_TOKEN_SECRET": ready["token_secret"],
            "PVE_FINGERPRINT": ready["fingerprint"],
            "PVE_TEMPLATE_CHECKSUM": hashlib.sha512(NEWER).hexdigest(),
        }
        run = playbooks.run(
            "template_build.yml",
            ROOT / "inventory" / "example",
            *("-e", f"pve_api_host={sandbox.host}", "-e", f"pve_api_port={sandbox.port}"),
            *("-e", f"pve_api_token_id={ready['token_id']}"),
            *("-e", f"pve_template_url={web.url}/newer.qcow2"),
        )
        assert run.code == 0, run.output
        assert {result.host for result in run.results} == {"debian-12"}
        assert sandbox.vm(9100)["config"]["scsi0"].endswith("base-9100-disk-0.qcow2,size=4G")

    def test_a_token_with_the_documented_privileges(self, builds: Builds, sandbox: Sandbox) -> None:
        extra = (ROOT / "docs" / "operations.md").read_text().partition("The service builds no templates")[2]
        rows = re.findall(r"^\| `(/\S+)` \| ([^|]+) \|", extra, re.MULTILINE)
        places = {"/storage/<image_storage>": "/storage/local", "/nodes/<node>": "/nodes/pve1"}
        granted: dict[str, set[str]] = {places[path]: set() for path, _ in rows}
        for path, names in rows:
            granted[places[path]].update(names.split(", "))
        storages = dict.fromkeys(("vm_storage", "backup_storage", "iso_storage"), "vmstore")
        for grant in grants(node="pve1", bridge="vmbr0", **storages):
            granted.setdefault(grant.path, set()).update(grant.privileges)
        with sandbox.client() as pve:
            pve.post("access/users", userid="builder@pve")
            for number, (path, privileges) in enumerate(granted.items()):
                pve.post("access/roles", roleid=f"Builder{number}", privs=",".join(sorted(privileges)))
                pve.put("access/acl", path=path, roles=f"Builder{number}", users="builder@pve")
            token = pve.post("access/users/builder@pve/token/by-hand", privsep=False)
        sandbox.control("DELETE", "/requests")  # none of the plugins'
        as_builder = {"pve_api_token_id": "builder@pve!by-hand", "pve_api_token_secret": token["value"]}
        builds.ok(pve_template_disk_bytes=3 * GIB, pve_template_keep_image=False, **as_builder)
        assert images(sandbox) == []
        builds.ok(pve_template_replace=True, **builds.newer, **as_builder)


class TestRefusals:
    def test_what_cannot_be_a_template_is_said_field_by_field(
        self, builds: Builds, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        touched = tmp_path / "touched"
        hostile = Unsafe("{{ lookup('pipe', 'touch %s') }}" % touched)  # noqa: UP031 - braces
        run = builds.run(
            pve_template_url=hostile,
            pve_template_checksum=hostile,
            pve_template_name=hostile,
            pve_template_storage=hostile,
            pve_template_bridge=Unsafe("vmbr0,firewall=0"),
            pve_template_image_storage=HOSTILE,
            pve_template_image_name=Unsafe("../../etc/cron.d/x.qcow2"),
            pve_template_memory_bytes=1000,
            pve_template_disk_bytes=-1,
            pve_template_cores=0,
        )
        assert run.error["code"] == "invalid_input"
        fields = "url checksum image_name name storage image_storage bridge cores memory_bytes disk_bytes"
        assert [part for part in fields.split() if f"{part}: " not in run.error["message"]] == []
        assert not touched.exists()
        assert sandbox.requests() == []

    def test_urls(self, builds: Builds, sandbox: Sandbox) -> None:
        urls = [
            "https://user:canary@example.org/debian.qcow2",
            "https://canary@example.org/debian.qcow2",
            "ftp://example.org/canary.qcow2",
            "file:///etc/canary.qcow2",
            "http:///canary.qcow2",
            "http://example.org:x/canary.qcow2",
            "http://example.org/ canary.qcow2",
            "http://example.org/canary.qcow2#canary",
            "http://example.org/canary.iso",
            "http://[canary/x.qcow2",
            "",
        ]
        template = builds.playbooks.template
        hosts = {
            f"url-{number}": template(number, **builds.image | {"pve_template_url": Unsafe(url)})
            for number, url in enumerate(urls)
        }
        inventory = builds.playbooks.inventory("templates", **hosts)
        run = builds.playbooks.run("template_build.yml", inventory, "-vvv", "--forks", "4")
        assert [r.result["error"]["code"] for r in run.results if r.outcome == "failed"] == [
            "invalid_input"
        ] * len(urls)
        assert "canary" not in repr(run.results) + run.output
        assert sandbox.requests() == []

    def test_a_signature_in_the_url_is_not_shown(
        self, builds: Builds, sandbox: Sandbox, web: ImageServer
    ) -> None:
        missing = builds.run(pve_template_url=Unsafe(f"{web.url}/missing.qcow2?sig=canary"))
        assert missing.error["code"] == "task_failed"
        assert "404" in missing.error["message"]
        run = builds.ok(pve_template_url=Unsafe(f"{web.url}/debian-12.img?sig=canary"))
        assert run.diffs["Fetch the image"]["after"]["image.url"].endswith(".img?********")
        assert "canary" not in repr(run.results + missing.results) + run.output + missing.output
        assert "GET /debian-12.img?sig=canary" in web.requests
        made_once(sandbox)

    def test_storages_and_bridges_that_do_not_fit(self, builds: Builds, sandbox: Sandbox) -> None:
        results = builds.together(
            content={"pve_template_storage": "local", "pve_template_image_storage": "vmstore"},
            missing={"pve_template_storage": "nosuch"},
            bridge={"pve_template_bridge": "vmbr7"},
            size={"pve_template_disk_bytes": GIB},
        )
        assert "storage local of node pve1 lacks the content type `images`" in results["content"]["msg"]
        assert "storage vmstore of node pve1 lacks the content type `import`" in results["content"]["msg"]
        assert "node pve1 has no storage nosuch" in results["missing"]["msg"]
        assert "no bridge vmbr7" in results["bridge"]["msg"]
        assert "disk_bytes: the image has" in results["size"]["msg"]
        assert set(sandbox.vms()) == {9000}

    def test_an_image_that_cannot_be_had_leaves_nothing(
        self, builds: Builds, sandbox: Sandbox, web: ImageServer
    ) -> None:
        web.serve("/text.qcow2", b"<html>")
        results = builds.together(
            checksum={"pve_template_checksum": "0" * 64},
            refused={"pve_template_url": Unsafe("http://127.0.0.1:1/x.qcow2")},
            format={
                "pve_template_url": Unsafe(f"{web.url}/text.qcow2"),
                "pve_template_checksum": sha256(b"<html>"),
            },
        )
        assert {result["error"]["code"] for result in results.values()} == {"task_failed"}
        assert results["checksum"]["msg"].startswith("checksum mismatch: got '")
        assert "publisher" in results["checksum"]["error"]["hint"]
        assert "127.0.0.1:1" in results["refused"]["msg"]
        assert "not in qcow2 format" in results["format"]["msg"]
        assert (set(sandbox.vms()), images(sandbox)) == ({9000}, [])

        # Another file of that name is neither used nor replaced.
        builds.ok(pve_template_image_name=Unsafe("mine.qcow2"))
        taken = builds.run(pve_vmid=9102, pve_template_image_name=Unsafe("mine.qcow2"), **builds.newer)
        assert "another file" in taken.error["hint"]
        assert (set(sandbox.vms()), images(sandbox)) == ({9000, 9101}, ["local:import/mine.qcow2"])


class TestWhoseVmItIs:
    def test_other_vms_are_not_touched(self, builds: Builds, sandbox: Sandbox, web: ImageServer) -> None:
        builds.ok()
        foreign_vm(sandbox, 9102)
        server = sandbox.own_server()
        with sandbox.client() as pve:  # a clone by hand, which has inherited the template's notes
            path = "nodes/pve1/qemu/9101/clone"
            pve.run("clone", "POST", path, timeout_seconds=10, newid=9103, name="by-hand")
        assert sandbox.vm(9103)["config"]["description"].startswith("jotunheim:template=")
        before = sandbox.vms()
        web.requests.clear()
        hosts = {
            f"vm-{vmid}-{may}": {"pve_vmid": vmid, "pve_template_replace": may}
            for vmid in (9102, 9103, 9000, server)
            for may in (False, True)
        }
        for host, result in builds.together(**hosts).items():
            assert result["error"]["code"] == "vmid_taken", host
            assert {9000, 9101, int(host.split("-")[1])} <= set(result["taken_vmids"])
        assert sandbox.vms() == before
        assert web.requests == []

    def test_a_template_of_another_image_goes_only_when_it_may(
        self, builds: Builds, sandbox: Sandbox
    ) -> None:
        builds.ok()
        before = sandbox.vm(9101)
        larger = {"pve_template_disk_bytes": 4 * GIB}
        results = builds.together(image=builds.newer, size=larger)
        assert [result["error"]["code"] for result in results.values()] == ["template_differs"] * 2
        assert sha256(IMAGE) in results["image"]["msg"]
        assert "pve_template_replace" in results["image"]["error"]["hint"]
        assert f"whose disk has {2 * GIB} bytes" in results["size"]["msg"]
        assert sandbox.vm(9101) == before
        assert len(images(sandbox)) == 1

        check = builds.ok("--check", pve_template_replace=True, **builds.newer)
        assert sandbox.vm(9101) == before
        real = builds.ok(pve_template_replace=True, **builds.newer)
        assert check.diffs == real.diffs
        config = sandbox.vm(9101)["config"]
        assert config["description"] == f"jotunheim:template={sha256(NEWER)}"
        assert len(disks(sandbox)) == 2
        assert builds.ok(pve_template_replace=True, **builds.newer).changed == []


class TestRecovery:
    def test_a_build_that_is_killed_while_the_image_comes_is_continued_with_the_same_download(
        self, builds: Builds, sandbox: Sandbox, web: ImageServer
    ) -> None:
        web.requests.clear()
        web.gate.clear()
        first = builds.playbooks.start("template_build.yml", builds.inventory())
        wait_for(lambda: bool(web.requests), "the download")
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate(timeout=10)
        second = builds.playbooks.start("template_build.yml", builds.inventory())
        wait_for(lambda: sandbox.requests(polls=True)[-1].endswith("/status"), "the wait for the download")
        web.gate.set()
        output, _ = second.communicate(timeout=60)
        assert second.returncode == 0, output
        made_once(sandbox)
        assert web.requests == ["GET /debian-12.img"]

    def test_an_answer_that_gets_lost_makes_no_second_vm(self, builds: Builds, sandbox: Sandbox) -> None:
        sandbox.fault(method="POST", path="/qemu$", when="after", reset=True)
        first = builds.run()
        assert (first.error["code"], first.error["retryable"]) == ("node_unavailable", True)
        builds.ok()
        made_once(sandbox)
        assert len(sandbox.tasks("qmcreate")) == 1
