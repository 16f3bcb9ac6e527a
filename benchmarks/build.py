"""What a build costs besides the hypervisor's own time, next to the least that is possible."""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

from proxmoxer import ProxmoxAPI

from jotunheim.ansible import inventory, paths
from jotunheim.ansible.inventory import SecretReference
from tests.support.sandbox import Sandbox
from tests.support.service import Service

RUNS = 7
RAW = "raw: the same requests by a script with proxmoxer, already imported and connected"
BY_HAND = "`ansible-playbook` by hand, the same playbook"
JOTUNHEIM = "Jotunheim: POST until the job has succeeded"
PLAIN = "the same with `JOTUNHEIM_WARM_ANSIBLE=false`"


def measure(service: Service, plain: Service, sandbox: Sandbox) -> dict[str, list[float]]:
    """Seconds of each way, in turns."""
    raw = _Raw(sandbox)
    seconds: dict[str, list[float]] = {RAW: [], BY_HAND: [], JOTUNHEIM: [], PLAIN: []}
    for number in range(RUNS + 1):
        for name, way in (
            (RAW, lambda: raw.build(50_000 + number)),  # noqa: B023 - called at once
            (BY_HAND, lambda: _by_hand(service, sandbox, 60_000 + number)),  # noqa: B023
            (JOTUNHEIM, lambda: service.built(f"bench-{number}", disk_bytes=3 * 2**30)),  # noqa: B023
            (PLAIN, lambda: plain.built(f"plain-{number}", disk_bytes=3 * 2**30)),  # noqa: B023
        ):
            began = time.perf_counter()
            way()
            if number:  # the first turn warms everything up
                seconds[name].append(time.perf_counter() - began)
    return seconds


class _Raw:
    def __init__(self, sandbox: Sandbox) -> None:
        user, _, token = sandbox.token_id.partition("!")
        self._api = ProxmoxAPI(
            "127.0.0.1",
            port=sandbox.port,
            user=user,
            token_name=token,
            token_value=sandbox.token_secret,
            verify_ssl=str(sandbox.ready["ca_pem_file"]),
        )

    def build(self, vmid: int) -> None:
        node = self._api.nodes("pve1")
        self._wait(node.qemu(9000).clone.post(newid=vmid, name="raw", full=0))
        vm = node.qemu(vmid)
        digest = vm.config.get()["digest"]
        vm.config.put(cores=2, memory=2048, ipconfig0="ip=dhcp", digest=digest)
        self._wait(vm.resize.put(disk="scsi0", size="3G"))
        self._wait(vm.status.start.post())
        vm.config.get()
        vm.status.current.get()

    def _wait(self, upid: str) -> None:
        while self._api.nodes("pve1").tasks(upid).status.get()["status"] == "running":
            time.sleep(0.01)


def _by_hand(service: Service, sandbox: Sandbox, vmid: int) -> None:
    hosts = {
        "bench": {
            "pve_api_host": "127.0.0.1",
            "pve_api_port": sandbox.port,
            "pve_api_token_id": sandbox.token_id,
            "pve_api_token_secret": SecretReference(f"node/{service.ids['node']}/token"),
            "pve_api_ca_pem": sandbox.ca_pem,
            "pve_node": "pve1",
            "pve_vmid": vmid,
            "pve_uuid": str(uuid.uuid4()),
            "pve_clone_template_vmid": 9000,
            "pve_clone_name": "by-hand",
            "pve_config_cores": 2,
            "pve_config_memory_bytes": 2**31,
            "pve_config_disk": {"size_bytes": 3 * 2**30},
        }
    }
    file = service.state / "by-hand.yml"
    file.write_text(inventory.render(hosts))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(file)]
    subprocess.run(
        [*command, str(paths.PLAYBOOKS / "server_build.yml")],
        env={**os.environ, **service.environment, **paths.environment()},
        check=True,
        capture_output=True,
    )
