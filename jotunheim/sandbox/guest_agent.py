"""The agent's commands that act in a guest: programs, files and passwords. Without guests they answer 501.

PVE hands texts to the agent byte by byte: characters up to U+00FF are one byte each (so `ë` is written as
Latin-1), others make its worker fail. What comes back is read as Latin-1 too.
"""

import asyncio
import string
from typing import Any

from jotunheim.sandbox.agent_calls import answering, ask
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.crypt import sha256_crypt
from jotunheim.sandbox.errors import failure

routes = Routes()

AGENT = "/nodes/{node}/qemu/{vmid}/agent"
BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
SOURCE = "/usr/share/perl5/PVE/API2/Qemu/Agent.pm"


def _bytes(text: str) -> bytes:
    """A text as PVE encodes it for the agent."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise failure(f"Wide character in subroutine entry at {SOURCE} line 489.") from error


@routes("POST", f"{AGENT}/exec")
async def execute(call: Call) -> dict[str, int]:
    """Start a program in the guest."""
    command = call.params["command"]
    words = [str(word) for word in command] if isinstance(command, list) else [str(command)]
    given = call.get("input-data")
    data = _bytes(given) if given is not None else b""
    answer, _ = await ask(call, "exec", data, words=words, input=given is not None)
    return {"pid": answer["pid"]}


@routes("GET", f"{AGENT}/exec-status")
async def status(call: Call) -> dict[str, Any]:
    """How far a program is; its output once, when it has ended."""
    answer, body = await ask(call, "exec-status", pid=int(call.params["pid"]))
    if not answer["exited"]:
        return {"exited": 0}
    data: dict[str, Any] = {"exited": 1}
    data |= {name: answer[name] for name in ("exitcode", "signal") if name in answer}
    for name, text in (("out", body[: answer["out"]]), ("err", body[answer["out"] :])):
        if text:
            data[f"{name}-data"] = text.decode("latin-1")
            data[f"{name}-truncated"] = int(answer[f"{name}-truncated"])
    return data


@routes("GET", f"{AGENT}/file-read")
async def read(call: Call) -> dict[str, Any]:
    """A file's content, up to 16 MiB."""
    answer, body = await ask(call, "file-read", path=str(call.params["file"]))
    data: dict[str, Any] = {"bytes-read": len(body), "content": body.decode("latin-1")}
    return data | ({"truncated": 1} if answer["truncated"] else {})


@routes("POST", f"{AGENT}/file-write")
async def write(call: Call) -> None:
    """Write a file anew. With `encode=0` the content is base64 already; if it is not, the file is empty then."""
    path, content = str(call.params["file"]), str(call.params["content"])
    encoded = not call.get("encode", 1)
    wrong = encoded and set(content) - set(BASE64 + "=\n")
    data = b"" if wrong else _decoded(content) if encoded else _bytes(content)
    await ask(call, "file-write", data, path=path)
    if wrong:
        raise failure("Agent error: Base64 data contains invalid characters")


def _decoded(text: str) -> bytes:
    """Base64 as GLib decodes it: groups of four, and an incomplete last one is dropped."""
    data = bytearray()
    letters = text.replace("\n", "")
    for start in range(0, len(letters) - 3, 4):
        group = letters[start : start + 4]
        value = 0
        for letter in group:
            value = value << 6 | max(0, BASE64.find(letter))
        kept = 1 + (group[2] != "=") + (group[3] != "=")
        data += value.to_bytes(3, "big")[:kept]
    return bytes(data)


@routes("POST", f"{AGENT}/set-user-password")
async def set_password(call: Call) -> dict[str, Any]:
    """Set the password of an account of the guest, at once."""
    user, password = str(call.params["username"]), _bytes(str(call.params["password"]))
    await answering(call)
    if b"\n" in password:
        raise failure("Agent error: forbidden characters in raw password")
    if "\n" in user or ":" in user:
        raise failure("Agent error: forbidden characters in username")
    if call.get("crypted"):
        hashed = password.decode("latin-1")
    else:
        hashed = await asyncio.to_thread(sha256_crypt, password)
    await ask(call, "set-user-password", user=user, hash=hashed)
    return {"result": {}}
