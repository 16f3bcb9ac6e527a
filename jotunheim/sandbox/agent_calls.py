"""Getting through to a guest agent: PVE's checks in their order, and putting a question to a real guest."""

import time
from typing import TYPE_CHECKING, Any

from jotunheim.sandbox.call import Call
from jotunheim.sandbox.errors import ApiError, failure
from jotunheim.sandbox.state import Run
from jotunheim.sandbox.vms import agent_enabled

if TYPE_CHECKING:
    from jotunheim.sandbox.guests.manager import Guest

QGA_NAMES = {"file-read": "guest-file-open", "file-write": "guest-file-open"}
"""The first of the agent's commands of which a call consists, where it has another name."""


async def answering(call: Call) -> Run:
    """The running VM whose agent answers, or PVE's error in PVE's order of checks."""
    vm = call.vm()
    if vm.run is None:
        raise failure(f"VM {vm.vmid} is not running")
    if not agent_enabled(vm.run.config):
        raise failure("No QEMU guest agent configured")
    guests = call.world.guests
    if vm.run.paused or time.time() < vm.run.agent_at or (guests and not guests.ready(vm)):
        raise await silent(call)
    return vm.run


async def silent(call: Call) -> ApiError:
    """PVE's error for an agent that does not answer, after the time that PVE waits."""
    await call.world.sleep("agent_silence")
    return failure("QEMU guest agent is not running")


def guest_of(call: Call) -> "Guest | None":
    """The real guest of the VM, if there is one."""
    return call.world.guests.of(call.vm()) if call.world.guests else None


async def ask(call: Call, command: str, data: bytes = b"", **parameters: Any) -> tuple[dict[str, Any], bytes]:
    """Put a question to the VM's guest.

    Raises:
        ApiError: the agent does not answer or refuses; or the VM has no real guest, which is not modelled.
    """
    await answering(call)
    guest = guest_of(call)
    if guest is None:
        raise ApiError(501, f"the sandbox does not model the agent's '{command}' without guests")
    from jotunheim.sandbox.guests.link import GuestGoneError
    from jotunheim.sandbox.guests.messages import AgentError

    try:
        return await guest.link.ask(command, data, **parameters)
    except AgentError as error:
        if not str(error).isascii():
            # PVE's worker dies of the typographic quotes in GLib's messages, and the proxy before it gets no answer.
            raise ApiError(596, "Unexpected end-of-file", bare=True) from error
        raise failure(f"Agent error: {error}") from error
    except TimeoutError as error:
        asked = QGA_NAMES.get(command, f"guest-{command}")
        raise failure(f"VM {call.vmid} qmp command '{asked}' failed - got timeout") from error
    except GuestGoneError as error:
        raise await silent(call) from error
