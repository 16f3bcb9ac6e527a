"""Two clients of one service, each with something of every kind, made in the store and quickly."""

import re
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from jotunheim.data.webhook import secret
from jotunheim.data.webhook.kinds import EventKind
from jotunheim.repositories.peewee.accounts import Role, Token, User
from jotunheim.repositories.peewee.addresses import AddressPool
from jotunheim.repositories.peewee.announcements import announce_to
from jotunheim.repositories.peewee.backup_schedules import BackupSchedule
from jotunheim.repositories.peewee.backups import Backup
from jotunheim.repositories.peewee.database import now
from jotunheim.repositories.peewee.firewalls import Ruleset
from jotunheim.repositories.peewee.infrastructure import Location, Node, Template, TemplateGroup
from jotunheim.repositories.peewee.job_steps import JobStep
from jotunheim.repositories.peewee.jobs import Job, JobEvent
from jotunheim.repositories.peewee.labels import Label
from jotunheim.repositories.peewee.orphans import Orphan
from jotunheim.repositories.peewee.plans import Plan
from jotunheim.repositories.peewee.pve_tasks import PveTask
from jotunheim.repositories.peewee.secrets import Secret
from jotunheim.repositories.peewee.servers import Server
from jotunheim.repositories.peewee.sessions import Session
from jotunheim.repositories.peewee.ssh_keys import SshKey
from jotunheim.repositories.peewee.traffic import (
    TrafficHistory,
    TrafficMeter,
    TrafficPeriod,
    TrafficThreshold,
)
from jotunheim.repositories.peewee.webhooks import Webhook, WebhookDelivery
from jotunheim.routes.operation import Operation
from jotunheim.services.accounts import login
from tests.support.in_process import InProcess

ABSENT_UUID = "00000000-0000-4000-8000-000000000000"
ABSENT_ROW = "999999"
MARK = "zq-of-the-owner"
"""Part of every text that the owner gave to something."""
OWNER, STRANGER = 700_001, 700_002
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtQUDZWhs8k/cZcykMkoWOQHTHcGJxbTZ3x3Dx3gJ3u"


@dataclass
class World:
    """Two clients of one service, each with something of every kind."""

    service: InProcess
    tokens: dict[int, str]
    narrow: str
    """A client's token with a scope that is none of theirs."""
    count: int = 0

    @classmethod
    def made(cls, service: InProcess, *, secret: str, **node: Any) -> "World":
        """With one node that is reached so, and one of each other thing that is the operator's."""
        location = Location.create(name="l", short_code="l")
        columns = {
            "name": "pve1", "vm_storage": "vmstore", "backup_storage": "local", "iso_storage": "local", "bridge": "vmbr0",
            "memory_overcommit": 1, "disk_overcommit": 1, "max_concurrent_clones": 1,
        }  # fmt: skip
        added = Node.create(location=location, **columns, **node)
        Secret.put(service.app.state.context.keyring, added.token_reference, secret)
        Template.create(name="t", node=added, vmid=9000, os_family="linux", default_user="debian")
        Ruleset.create(name="shared")
        tokens = {
            id_: service.user(email, "client", "*", id=id_)[1]
            for id_, email in ((OWNER, f"{MARK}@example.com"), (STRANGER, "stranger@example.com"))
        }
        return cls(service, tokens, service.user("narrow@example.com", "client", "nodes:read")[1])

    def server(self, user: int) -> Server:
        """A server of a user."""
        self.count += 1
        node: Node = Node.get()
        server: Server = Server.create(
            vmid=5000 + self.count, name=f"{self._mark(user)}-{self.count}", hostname="h", owner=user, node=node,
            template=Template.get(), cpu=1, memory_bytes=2**30, disk_bytes=2**30, status="ready", external_id=f"{self._mark(user)}-{self.count}",
        )  # fmt: skip
        Label.attach(server, {"owned": self._mark(user)})
        self._traffic(server)
        return server

    @staticmethod
    def _traffic(server: Server) -> None:
        """What a server has moved, and a threshold that it has passed."""
        month = f"{now():%Y-%m}"
        TrafficMeter.begin(server)
        TrafficPeriod.begin(server, month)
        TrafficHistory.add(now(), {server.id: (5, 5)})
        TrafficThreshold.create(server=server, period=month, percent=80, action="notify")

    def job(self, server: Server, **columns: Any) -> Job:
        """A failed job on a server that its owner asked for, or another one; with an event, a step and a task."""
        told = {
            "type": "server.power",
            "status": "failed",
            "finished_at": now(),
            "started_at": now(),
        } | columns
        job: Job = Job.create(
            server=server, server_uuid=server.id, owner_id=server.owner_id, node=server.node_id, max_attempts=1,
            requested_by=User.get_by_id(server.owner_id).email, request_id=self._mark(server.owner_id),
            parameters={"action": "start", "force": False, "timeout_seconds": 60}, **told,
        )  # fmt: skip
        JobEvent.add(job.id, "job.queued", {})
        JobStep.create(job=job, attempt=1, name=self._mark(server.owner_id), status="ok")
        PveTask.create(job=job, operation="x", upid=f"UPID:{job.id}")
        return job

    def backup(self, server: Server, *, kept: bool = False) -> Backup:
        """A backup of a server that is ready.

        Args:
            kept: the server is gone.
        """
        self.count += 1
        row: Backup = Backup.create(
            server=None if kept else server, server_uuid=server.id, server_name=server.name, owner=server.owner_id,
            node=server.node_id, vmid=server.vmid, storage="local", volume=f"local:backup/{self.count}", status="ready",
            notes=self._mark(server.owner_id), size_bytes=1, taken_at=now(),
        )  # fmt: skip
        return row

    def schedule(self, server: Server) -> BackupSchedule:
        """A schedule of a server's backups."""
        row: BackupSchedule = BackupSchedule.create(server=server, cron="0 3 * * *", timezone="UTC")
        return row

    def preview(self, server: Server, type_: str) -> Job:
        """A preview on a server that can be applied."""
        job = self.job(server, type=type_, status="succeeded", check_only=True)
        Plan.create(preview=job, request={}, watched={"vmid": server.vmid}, seen={"x": 1})
        return job

    def key(self, user: int) -> SshKey:
        """A key that a user keeps."""
        self.count += 1
        key: SshKey = SshKey.create(
            user=user,
            name=f"{self._mark(user)}-{self.count}",
            public_key=OTHER_KEY,
            fingerprint=f"f{self.count}",
        )
        return key

    def webhook(self, user: int) -> Webhook:
        """A webhook of a user that was told something."""
        self.count += 1
        row: Webhook = Webhook.create(
            owner=user, target="https://a.example", description=f"{self._mark(user)}-{self.count}"
        )
        keyring = self.service.app.state.context.keyring
        Secret.put(keyring, row.url_reference, "https://a.example/x")
        Secret.put(keyring, row.secret_reference, secret.generate())
        announce_to(row, EventKind.TEST, ("webhook", row.id), {})
        return row

    def session(self, user: int) -> str:
        """The text of a new session of a user."""
        context = self.service.app.state.context
        caller = login.Caller(address=None, user_agent=None)
        return login.log_in(User.get_by_id(user), None, caller, context.keyring, context.settings).text

    def id_of_new(self, kind: str, user: int) -> str:
        """The id of a new resource of a user, or of the operator's, by what it is called in paths."""
        self.count += 1
        name = f"of-{self.count}"
        match kind:
            case "servers":
                row: Any = self.server(user)
            case "jobs":
                row = self.job(self.server(user))
            case "ssh-keys":
                row = self.key(user)
            case "backups":
                row = self.backup(self.server(user), kept=True)
            case "orphans":
                mark = uuid.uuid4()
                row = Orphan.create(node=Node.get(), key=name, kind="vm", vmid=900, name=name, mark=mark)
            case "locations":
                row = Location.create(name=name, short_code=name)
            case "nodes":
                row = Node.get()
            case "templates":
                row = Template.create(name=name, node=Node.get(), vmid=9000 + self.count, os_family="linux")
            case "template-groups":
                row = TemplateGroup.create(name=name, os_family="linux")
            case "address-pools":
                row = AddressPool.create(name=name, family="ipv4", prefix_length=24)
            case "firewall-rulesets":
                row = Ruleset.create(name=name)
            case "users":
                row = User.create(email=f"{name}@example.com", name=name, role="client")
            case "roles":
                row = Role.create(name=name, admin=False, permissions=["servers:read"])
            case "tokens":
                row = Token.create(user=user, name=name, sha256=name, scopes=["*"])
            case "webhooks":
                row = self.webhook(user)
            case "sessions":
                row = Session.create(user=user, sha256=name, expires_at=now() + timedelta(hours=1))
            case _:
                pytest.fail(f"Nothing of the kind {kind} is made here: add it to World.id_of_new")
        return str(row.id)

    def path(self, operation: Operation, user: int) -> tuple[str, str]:
        """The operation's path to a new resource of a user, and to one that does not exist."""
        absent = ABSENT_ROW if "{id:row}" in operation.path else ABSENT_UUID
        filled = operation.path.replace("{name:str}", "snap")
        real = self.id_of_new(operation.path.split("/")[2], user)
        ids = {
            "{orphan_id:uuid}": (real, ABSENT_UUID),
            "{backup_id:uuid}": (real, ABSENT_UUID),
            "{schedule_id:row}": ("", ABSENT_ROW),
            "{delivery_id:row}": ("", ABSENT_ROW),
        }
        if "{delivery_id:row}" in filled:
            told = WebhookDelivery.get(WebhookDelivery.webhook == int(real))
            ids["{delivery_id:row}"] = (str(told.id), ABSENT_ROW)
        if "/servers/" in filled and "{backup_id:uuid}" in filled:
            ids["{backup_id:uuid}"] = (str(self.backup(Server.get_by_id(real)).id), ABSENT_UUID)
        if "{schedule_id:row}" in filled:
            ids["{schedule_id:row}"] = (str(self.schedule(Server.get_by_id(real)).id), ABSENT_ROW)
        found = [re.sub(r"{id:\w+}", id_, filled) for id_ in (real, absent)]
        for parameter, parts in ids.items():
            found = [path.replace(parameter, part) for path, part in zip(found, parts, strict=True)]
        assert not any("{" in path for path in found), "a path with a parameter that World.path does not fill"
        return found[0], found[1]

    def ask(self, user: int, method: str, path: str, **more: Any) -> httpx.Response:
        """What a user is answered."""
        return self.service.ask(method, path, self.tokens[user], **more)

    @staticmethod
    def _mark(user: int) -> str:
        return MARK if user == OWNER else "zq-of-the-stranger"
