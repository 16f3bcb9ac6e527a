"""Consoles: tickets for VNC and serial terminals, and the WebSocket that they open.

Behind the WebSocket there is no display: a VNC client gets the protocol's greeting, a terminal its "OK".
"""

import asyncio
import secrets
from typing import Any

from aiohttp import web

from jotunheim.sandbox import access
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.errors import ApiError, bad_params, failure
from jotunheim.sandbox.tasks import Worker

routes = Routes()

FIRST_PORT, LAST_PORT = 5900, 5999
PASSWORD_CHARACTERS = "".join(chr(code) for code in range(33, 127))
TICKET_SECONDS = 10
VNC_GREETING = b"RFB 003.008\n"


def _next_port(call: Call) -> int:
    used = call.world.consoles
    port = next((p for p in range(FIRST_PORT, LAST_PORT + 1) if p not in used), None)
    if port is None:
        port = next(iter(used))
        del used[port]
    return port


def _open(call: Call, port: int) -> tuple[str, str]:
    """Start the proxy's task. Returns the ticket and the UPID."""
    world = call.world
    subject = f"/vms/{call.vmid}:{port}"

    async def work(worker: Worker) -> None:
        worker.say(f"starting vnc proxy {worker.task.upid}")
        try:
            await asyncio.sleep(TICKET_SECONDS * world.settings.time_scale + 1)
        finally:
            if world.consoles.get(port) == subject:
                del world.consoles[port]

    world.consoles[port] = subject
    upid = call.task("vncproxy", call.vmid, work)
    return access.make_ticket(world.state, "PVEVNC", f"{call.auth.owner}:{subject}"), upid


@routes("POST", "/nodes/{node}/qemu/{vmid}/vncproxy")
async def vnc_proxy(call: Call) -> dict[str, Any]:
    """A ticket for the VM's display. PVE waits for the display of a stopped VM, in vain."""
    vm, port = call.vm(), _next_port(call)
    if vm.run is None:
        await call.world.sleep("vnc_timeout")
        raise failure(f"Timeout while waiting for port '{port}' to get ready!")
    ticket, upid = _open(call, port)
    password = "".join(secrets.choice(PASSWORD_CHARACTERS) for _ in range(8))
    return {
        "cert": call.world.certificate,
        "password": password,
        "port": str(port),
        "ticket": f"{password}:{ticket}",
        "upid": upid,
        "user": call.auth.owner,
    }


@routes("POST", "/nodes/{node}/qemu/{vmid}/termproxy")
async def terminal_proxy(call: Call) -> dict[str, Any]:
    """A ticket for a serial terminal; whether there is one shows later."""
    call.vm()
    port = _next_port(call)
    ticket, upid = _open(call, port)
    return {"port": str(port), "ticket": ticket, "upid": upid, "user": call.auth.owner}


@routes("POST", "/nodes/{node}/qemu/{vmid}/spiceproxy")
async def spice_proxy(call: Call) -> None:
    """SPICE needs a qxl display, which the sandbox has not."""
    if call.vm().run is None:
        raise failure(f"VM {call.vmid} not running")
    raise failure("no spice port")


@routes("GET", "/nodes/{node}/qemu/{vmid}/vncwebsocket")
async def websocket(call: Call) -> dict[str, str] | web.StreamResponse:
    """Open the WebSocket of a console; without an Upgrade header, only check the ticket."""
    port, sent = int(call.params["port"]), str(call.params["vncticket"])
    ticket = sent[sent.find("PVEVNC:") :] if "PVEVNC:" in sent else sent
    subject = f"{call.auth.owner}:/vms/{call.vmid}:{port}"
    if not access.console_ticket_valid(call.world.state, ticket, subject):
        raise ApiError(401, "permission denied - invalid PVEVNC ticket")
    if port not in range(FIRST_PORT, LAST_PORT + 1):
        raise bad_params(port="no such port")
    if call.request.headers.get("Upgrade", "").lower() != "websocket":
        return {"port": str(port)}
    socket = web.WebSocketResponse(protocols=("binary",), autoping=True)
    await socket.prepare(call.request)
    if sent != ticket:
        await socket.send_bytes(VNC_GREETING)
    async for message in socket:
        if sent == ticket and isinstance(message.data, bytes | str):
            await socket.send_bytes(b"OK")
            ticket = ""
    return socket
