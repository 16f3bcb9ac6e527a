"""A running sandbox: the hypervisor of the tests."""

import json
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from jotunheim.services.nodes import privileges
from tests.support import plain_http, pve_schema
from tests.support.processes import JOTUNHEIM, Process, end, start, start_jotunheim

PATIENCE = 30.0
"""Seconds for an answer, on a machine that has much to do."""

TOKEN_ID = "jotunheim@pve!service"
"""The token that services under test get. It has the documented privileges and no more."""


@dataclass
class Sandbox:
    """One sandbox process, as its ready line describes it."""

    process: Process
    ready: dict[str, Any]
    control: httpx.Client
    api: httpx.Client
    token_secret: str = ""
    """Secret of the token with the least privileges."""
    pbs: tuple[str, ...] = ()
    """Storages of type pbs that it was started with."""

    @classmethod
    @contextmanager
    def start(
        cls,
        directory: Path,
        *,
        time_scale: float,
        nodes: int = 1,
        guests: str = "none",
        pbs: Sequence[str] = (),
    ) -> Iterator["Sandbox"]:
        """Start a sandbox on free ports; `pbs` names storages of type pbs that it has besides the others."""
        log = directory / "sandbox.log"
        options = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--guests", guests]
        options += [part for name in pbs for part in ("--pbs", name)]
        arguments = ["sandbox", *options, "--time-scale", str(time_scale), "--nodes", str(nodes)]
        # Guests are descendants of the sandbox, which tests tell by its command line.
        process = (
            start_jotunheim(arguments, log, {}) if guests == "none" else start([JOTUNHEIM, *arguments], log)
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        ready = json.loads(line)
        headers = {"Authorization": f"PVEAPIToken={ready['token_id']}={ready['token_secret']}"}
        context = ssl.create_default_context(cafile=ready["ca_pem_file"])
        control = plain_http.Client(base_url=ready["control_url"], timeout=PATIENCE)
        api = httpx.Client(
            base_url=ready["url"] + "/api2/json", headers=headers, verify=context, timeout=PATIENCE
        )
        try:
            sandbox = cls(process, ready, control, api, pbs=tuple(pbs))
            sandbox.token_secret = sandbox.make_token()
            yield sandbox
            if process.poll() is None:
                pve_schema.assert_lawful(sandbox.request_log())
        finally:
            control.close()
            api.close()
            end(process, log)

    @property
    def port(self) -> int:
        """Port of the PVE API."""
        port = urlsplit(self.ready["url"]).port
        assert port
        return port

    @property
    def nodes(self) -> list[str]:
        """Names of the nodes."""
        return list(self.ready["nodes"])

    @property
    def token_id(self) -> str:
        """Id of the token with the least privileges."""
        return TOKEN_ID

    def make_token(self, token_id: str = TOKEN_ID, lacking: frozenset[str] = frozenset()) -> str:
        """Make a token as docs/operations.md says, without some privileges; returns its secret."""
        user, _, name = token_id.partition("!")
        self.do("POST", "/access/users", userid=user)
        made = self.do("POST", f"/access/users/{user}/token/{name}", privsep=1)
        grants = {
            grant.path: grant
            for node in self.nodes
            for storage in ("vmstore", "shared")
            for backups in ("local", *self.pbs)
            for grant in privileges.grants(
                node=node, vm_storage=storage, backup_storage=backups, iso_storage="local", bridge="vmbr0"
            )
        }
        for number, grant in enumerate(grants.values()):
            role = f"{user.partition('@')[0]}{number}"
            self.do("POST", "/access/roles", roleid=role, privs=" ".join(grant.privileges - lacking))
            self.do("PUT", "/access/acl", path=grant.path, roles=role, users=user, tokens=token_id)
        return str(made["value"])

    @contextmanager
    def without(self, privilege: str, token_id: str = TOKEN_ID) -> Iterator[None]:
        """Let a token that `make_token` made be without a privilege for a while."""
        user = token_id.partition("@")[0]
        roles = [
            role
            for role in self.get("/access/roles")
            if role["roleid"].rstrip("0123456789") == user and privilege in role["privs"].split(",")
        ]
        assert roles, privilege
        for role in roles:
            left = [name for name in role["privs"].split(",") if name != privilege]
            self.do("PUT", f"/access/roles/{role['roleid']}", privs=" ".join(left))
        try:
            yield
        finally:
            for role in roles:
                self.do("PUT", f"/access/roles/{role['roleid']}", privs=role["privs"].replace(",", " "))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate."""
        return str(self.ready["fingerprint"])

    @property
    def ca_pem(self) -> str:
        """The certificate authority."""
        return Path(self.ready["ca_pem_file"]).read_text()

    def requests_logged(self) -> int:
        """Index of the last request."""
        return int(self.control.get("/requests").json()["count"])

    def request_log(self, since: int = 0) -> list[dict[str, Any]]:
        """The requests after an index, as docs/sandbox.md describes them."""
        answer = self.control.get("/requests", params={"since": since})
        entries: list[dict[str, Any]] = answer.raise_for_status().json()["requests"]
        return entries

    def get(self, path: str, **params: Any) -> Any:
        """What the PVE API answers, as the hypervisor's administrator sees it."""
        answer = self.api.get(path, params=params)
        assert answer.is_success, (path, answer.status_code, answer.text)
        return answer.json()["data"]

    def do(self, method: str, path: str, /, **params: Any) -> Any:
        """A change by the hypervisor's administrator, which must succeed."""
        how = {"params": params} if method == "DELETE" else {"json": params}
        answer = self.api.request(method, path, **how)
        assert answer.is_success, (path, answer.status_code, answer.text)
        return answer.json()["data"]

    def upload_image(self, name: str, storage: str = "local", node: str = "pve1") -> None:
        """Put an ISO image on a storage."""
        self.api.post(
            f"/nodes/{node}/storage/{storage}/upload",
            data={"content": "iso"},
            files={"filename": (name, bytes(2048))},
        ).raise_for_status()

    def vmids(self) -> set[int]:
        """VMIDs of all VMs that are no templates."""
        return {vm["vmid"] for vm in self.get("/cluster/resources", type="vm") if not vm.get("template")}

    def config(self, vmid: int, node: str = "pve1") -> dict[str, Any]:
        """A VM's configuration."""
        found: dict[str, Any] = self.get(f"/nodes/{node}/qemu/{vmid}/config")
        return found

    def firewall(self, vmid: int, node: str = "pve1") -> dict[str, Any]:
        """A VM's firewall: options, rules, and the addresses that its first device may use (None: any)."""
        base = f"/nodes/{node}/qemu/{vmid}/firewall"
        options = self.get(f"{base}/options")
        options.pop("digest")
        ignored = ("digest", "pos", "ipversion")
        rules = [
            {name: value for name, value in rule.items() if name not in ignored}
            for rule in self.get(f"{base}/rules")
        ]
        names = {found["name"] for found in self.get(f"{base}/ipset")}
        members = self.get(f"{base}/ipset/ipfilter-net0") if "ipfilter-net0" in names else None
        addresses = None if members is None else sorted(member["cidr"] for member in members)
        return {"options": options, "rules": rules, "addresses": addresses}

    def clone_tasks(self, node: str = "pve1") -> list[dict[str, Any]]:
        """All clone tasks of a node."""
        return [task for task in self.get(f"/nodes/{node}/tasks", limit=1000) if task["type"] == "qmclone"]
