"""Action plugin: the password of an account of the guest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.jotunheim.pve.plugins.plugin_utils import agent, passwords
from ansible_collections.jotunheim.pve.plugins.plugin_utils.action import PASSWORD_VARIABLE, PveAction
from ansible_collections.jotunheim.pve.plugins.plugin_utils.cloudinit import CloudInit, cloudinit
from ansible_collections.jotunheim.pve.plugins.plugin_utils.plan import MASK, Change, Plan
from ansible_collections.jotunheim.pve.plugins.plugin_utils.vm import Vm

from jotunheim.exceptions.model import DataValidationError, FieldProblem


class ActionModule(PveAction):
    """See plugins/modules/vm_password.py for the documentation."""

    ARGUMENTS = {
        "user": {"type": "str", "required": True},
        "renew": {"type": "bool", "default": False},
        "agent_timeout_seconds": {"type": "int", "default": 0},
    }

    def act(self, vm: Vm, args: dict[str, Any]) -> dict[str, Any]:
        """Set the password in the guest, if its agent answers, then in cloud-init."""
        password = self.password()
        if password is None:
            raise DataValidationError([FieldProblem(PASSWORD_VARIABLE, "is not set for this host")])
        config = self.predicted_config() or vm.owned_config()
        same = not args["renew"] and _is_stored(vm, config, password)
        now = self._answers(vm, config, args["agent_timeout_seconds"])
        if same:
            return self.outcome(Plan(), applied=_applied(now=now))
        sent = passwords.sent(password)
        user = None if config.get("ciuser") else args["user"]
        stored = cloudinit(
            config, CloudInit(user=user, password=sent.text, renew_password=True), self.target.uuid
        )
        if not self.checking:
            now = now and agent.set_password(vm, args["user"], sent.text, hashed=sent.hashed)
            vm.write(stored, config, timeout_seconds=0)
        plan = Plan(changes=[Change("guest.password", MASK, MASK)] if now else [])
        plan += stored
        return self.outcome(plan, applied=_applied(now=now))

    def _answers(self, vm: Vm, config: Mapping[str, Any], timeout_seconds: int) -> bool:
        """Whether there is an agent that can be told now."""
        if (self.checking and not self.vm_exists()) or not agent.enabled(config):
            return False
        return vm.status()["status"] == "running" and agent.ask(vm, "info", timeout_seconds) is not None


def _is_stored(vm: Vm, config: Mapping[str, Any], password: str) -> bool:
    if "cipassword" not in config:
        return False
    user_data = str(vm.client.get(vm.path("cloudinit", "dump"), type="user"))
    return passwords.matches(password, passwords.stored_hash(user_data))


def _applied(*, now: bool) -> str:
    return "now" if now else "at_next_boot"
