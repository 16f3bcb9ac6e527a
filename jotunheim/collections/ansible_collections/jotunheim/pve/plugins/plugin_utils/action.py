"""What the action plugins share: reading arguments and variables, one session, results, no tracebacks."""

from __future__ import annotations

import hmac
import json
import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.jotunheim.pve.plugins.plugin_utils import rests
from ansible_collections.jotunheim.pve.plugins.plugin_utils.common import journal_of, message_of
from ansible_collections.jotunheim.pve.plugins.plugin_utils.options import Spec
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.target import VARIABLES, Target, read_target
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

# proxmoxer and requests are imported here, at module level: Ansible loads action classes before it
# forks, so its children inherit the import.
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.exceptions.repository import VmidTakenError
from jotunheim.lifeline import die_with_parent
from jotunheim.repositories.proxmox import ProxmoxClient

if TYPE_CHECKING:
    from jotunheim.repositories.peewee.journal import Journal

# The name of the fact by which one task tells the next ones of the same play what it proved.
_FACT = "jotunheim_pve"

PASSWORD_VARIABLE = "pve_cloudinit_password"  # noqa: S105  # a variable's name

# How long a proof of ownership holds for tasks that destroy nothing. Saves one request per task.
_PROOF_SECONDS = 60


class PveAction(ActionBase):  # type: ignore[misc]  # ansible publishes no types
    """Base of all action plugins of this collection; runs in the controller, connects to no guest."""

    _requires_connection = False
    ARGUMENTS: ClassVar[Spec] = {}

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ansible's entry point. Expected errors become results; see the README for their shape."""
        die_with_parent()
        self._variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        client: ProxmoxClient | None = None
        try:
            _, args = self.validate_argument_spec(argument_spec=self.ARGUMENTS)
            self.target = self._read_target()
            journal = self._journal()
            client = ProxmoxClient(self.target.endpoint, journal)
            with client:
                if journal is not None:
                    watch = rests.note if self.checking else rests.hold
                    watch(client, self.target.node, journal)
                vm = Vm(client, self.target)
                result.update(self.act(vm, args))
                result.update(self._counted(vm))
        except JotunheimError as error:
            result.update(_failure(error))
        except AnsibleActionFail as error:
            result.update(_failure(JotunheimError(error.message), code="invalid_input"))
        if client is not None and client.upids:
            result["upids"] = client.upids
        return result

    @abstractmethod
    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Do the work; returns the result. In check mode (`self.checking`) changes nothing."""

    @property
    def checking(self) -> bool:
        """Whether this is check mode."""
        return bool(self._task.check_mode)

    def outcome(self, plan: Plan, **values: Any) -> dict[str, Any]:
        """The result for a plan that was carried out, or would be."""
        result: dict[str, Any] = {"changed": bool(plan), **values}
        if self._task.diff and plan:
            result["diff"] = plan.diff()
        return result

    def variable(self, name: str) -> Any:
        """The templated value of a variable; None when it is not defined.

        A value that came from a caller is not trusted as a template, so it comes back as it is.
        """
        if name not in self._variables:
            return None
        try:
            return self._templar.template(self._variables[name])
        except AnsibleError as error:
            # Not Ansible's text, which may quote the value.
            problem = FieldProblem(name, "cannot be evaluated")
            raise _ours(error) or DataValidationError([problem]) from None

    def password(self) -> str | None:
        """The cloud-init password; from a variable, because arguments are printed."""
        value = self.variable(PASSWORD_VARIABLE)
        return None if value in (None, "") else str(value)

    def proven(self) -> bool:
        """Whether an earlier task of this play saw our mark on this VM within the last minute."""
        known = self._known()
        return time.time() - float(known.get("proven_at", 0)) < _PROOF_SECONDS

    def predicted_config(self) -> dict[str, Any] | None:
        """In check mode: the configuration that an earlier task of this play would have written."""
        return self._known().get("predicted_config") if self.checking else None

    def predicted_status(self) -> str | None:
        """In check mode: the status that an earlier task of this play would have brought the VM to."""
        return self._known().get("predicted_status") if self.checking else None

    def vm_exists(self) -> bool:
        """False in check mode, when an earlier task of this play would have made the VM."""
        return bool(self._known().get("exists", True))

    def vm_is_new(self) -> bool:
        """Whether an earlier task of this very run made the VM."""
        return bool(self._known().get("new", False))

    def cloned_from(self) -> int | None:
        """In check mode: VMID of the template from which an earlier task of this play would have made the VM."""
        return self._known().get("cloned_from") if self.checking else None

    def guest_changes(self) -> list[str]:
        """Configuration keys that earlier tasks of this play changed, and a running guest has not seen."""
        return list(self._known().get("guest_changes", []))

    def tell_proven(self, guest_changes: Iterable[str] | None = None) -> dict[str, Any]:
        """The part of a result that says to later tasks: this one saw our mark on this VM.

        Args:
            guest_changes: what later tasks shall read as `guest_changes()`; None: as before.
        """
        return self._tell(proven_at=time.time(), **_seen(guest_changes))

    def tell_new(self) -> dict[str, Any]:
        """The part of a result that says to later tasks: this one made the VM, with our mark on it."""
        return self._tell(proven_at=time.time(), new=True)

    def tell_started(self) -> dict[str, Any]:
        """The part of a result that says to later tasks: the VM runs with all that earlier tasks changed."""
        return self._tell(proven_at=time.time(), guest_changes=[], new=False)

    def tell_predicted(
        self,
        config: Mapping[str, Any],
        *,
        exists: bool,
        guest_changes: Iterable[str] | None = None,
        status: str | None = None,
        cloned_from: int | None = None,
    ) -> dict[str, Any]:
        """The part of a check mode's result that says to later tasks what this one would have written.

        Args:
            guest_changes: what later tasks shall read as `guest_changes()`; None: as before.
            status: PVE's status afterwards; None: as before.
            cloned_from: the template that this one would have cloned; None: as before.
        """
        known: dict[str, Any] = {} if status is None else {"predicted_status": status}
        known |= {} if cloned_from is None else {"cloned_from": cloned_from}
        return self._tell(predicted_config=dict(config), exists=exists, **known, **_seen(guest_changes))

    def tell_predicted_status(self, status: str) -> dict[str, Any]:
        """The part of a check mode's result that says to later tasks whether the VM would run."""
        return self._tell(predicted_status=status)

    def _counted(self, vm: Vm) -> dict[str, Any]:
        """What our VM's process had counted when this task last saw it run: soon it may be gone, with its counters."""
        if vm.counted is None or not (vm.is_proven or self.proven()):
            return {}
        counters, asked_at = vm.counted
        return {"counters": {**asdict(counters), "asked_at": asked_at}}

    def _tell(self, **known: Any) -> dict[str, Any]:
        about = {"vmid": self.target.vmid, "node": self.target.node, "uuid": self.target.uuid}
        told = {**self._known(), **about, **known}
        return {"ansible_facts": {_FACT: told | {"seal": self._seal(told)}}}

    def _known(self) -> Mapping[str, Any]:
        told = self._variables.get("ansible_facts", {}).get(_FACT)
        if not isinstance(told, Mapping):
            return {}
        known = {key: value for key, value in told.items() if key != "seal"}
        same = all(known.get(key) == getattr(self.target, key) for key in ("vmid", "node", "uuid"))
        sealed = same and hmac.compare_digest(str(told.get("seal")).encode(), self._seal(known).encode())
        return known if sealed else {}

    def _seal(self, known: Mapping[str, Any]) -> str:
        """Shows that a fact is ours. What runs in a guest returns facts as well, and a guest is its owner's."""
        text = json.dumps(known, sort_keys=True)
        return hmac.new(self.target.endpoint.token_secret.encode(), text.encode(), "sha256").hexdigest()

    def _read_target(self) -> Target:
        return read_target({name: self.variable(name) for name in VARIABLES})

    def _journal(self) -> Journal | None:
        return journal_of(str(self._variables["inventory_hostname"]))


def _seen(guest_changes: Iterable[str] | None) -> dict[str, Any]:
    return {} if guest_changes is None else {"guest_changes": sorted(set(guest_changes))}


def _failure(error: JotunheimError, code: str | None = None) -> dict[str, Any]:
    message = message_of(error)
    failure: dict[str, Any] = {
        "failed": True,
        "changed": False,
        "msg": message,
        "error": {
            "code": code or error.code,
            "message": message,
            "retryable": error.retryable,
            "hint": error.hint,
        },
    }
    if isinstance(error, VmidTakenError):
        failure["taken_vmids"] = list(error.taken_vmids)
    return failure


def _ours(error: BaseException | None) -> JotunheimError | None:
    """Our own error below Ansible's, e.g. the lookup plugin's."""
    while error is not None and not isinstance(error, JotunheimError):
        error = error.__cause__ or error.__context__
    return error
