"""The agent's commands that act in a guest: programs, files and passwords.

Without guests they answer 501, but for passwords, which the pretended guest notes.

PVE hands texts to the agent byte by byte: characters up to U+00FF are one byte each (so `ë` is written as
Latin-1), others make its worker fail. What comes back is read as Latin-1 too.
"""

import asyncio
import json
import string
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from jotunheim.sandbox.agent_calls import answering, ask, guest_of
from jotunheim.sandbox.call import Call, Routes
from jotunheim.sandbox.crypt import sha256_crypt
from jotunheim.sandbox.errors import failure

routes = Routes()

AGENT = "/nodes/{node}/qemu/{vmid}/agent"
PIECE = 128 * 1024
PRETENDED_USER = "debian"
"""The account of a pretended guest when cloud-init names none."""
BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
SOURCE = "/usr/share/perl5/PVE/API2/Qemu/Agent.pm"


def _bytes(text: str) -> bytes:
    """A text as PVE encodes it for the agent."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise failure(f"Wide character in subroutine entry at {SOURCE} line 489.") from error


def _with_texts(data: dict[str, Any], texts: dict[str, bytes]) -> dict[str, Any] | web.Response:
    """The answer's data with texts of the guest in it; in pieces if they are long, as others want answers too."""
    if sum(map(len, texts.values())) <= PIECE:
        return data | {name: text.decode("latin-1") for name, text in texts.items()}
    return web.Response(
        body=_in_pieces(data, texts), headers={"Content-Type": "application/json;charset=UTF-8"}
    )


async def _in_pieces(data: dict[str, Any], texts: dict[str, bytes]) -> AsyncIterator[bytes]:
    yield f'{{"data": {json.dumps(data)[:-1]}'.encode()
    for name, text in texts.items():
        yield f', "{name}": "'.encode()
        for start in range(0, len(text), PIECE):
            part = text[start : start + PIECE].decode("latin-1")
            yield json.dumps(part, ensure_ascii=False)[1:-1].encode()
            await asyncio.sleep(0)
        yield b'"'
    yield b"}}"


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
async def status(call: Call) -> dict[str, Any] | web.Response:
    """How far a program is; its output once, when it has ended."""
    answer, body = await ask(call, "exec-status", pid=int(call.params["pid"]))
    if not answer["exited"]:
        return {"exited": 0}
    data: dict[str, Any] = {"exited": 1}
    data |= {name: answer[name] for name in ("exitcode", "signal") if name in answer}
    texts: dict[str, bytes] = {}
    for name, text in (("out", body[: answer["out"]]), ("err", body[answer["out"] :])):
        if text:
            texts[f"{name}-data"] = text
            data[f"{name}-truncated"] = int(answer[f"{name}-truncated"])
    return _with_texts(data, texts)


@routes("GET", f"{AGENT}/file-read")
async def read(call: Call) -> dict[str, Any] | web.Response:
    """A file's content, up to 16 MiB."""
    answer, body = await ask(call, "file-read", path=str(call.params["file"]))
    data: dict[str, Any] = {"bytes-read": len(body)}
    return _with_texts(data | ({"truncated": 1} if answer["truncated"] else {}), {"content": body})


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
    run = await answering(call)
    if b"\n" in password:
        raise failure("Agent error: forbidden characters in raw password")
    if "\n" in user or ":" in user:
        raise failure("Agent error: forbidden characters in username")
    if call.get("crypted"):
        hashed = password.decode("latin-1")
    else:
        hashed = await asyncio.to_thread(sha256_crypt, password)
    if guest_of(call):
        await ask(call, "set-user-password", user=user, hash=hashed)
    elif user in ("root", run.config.get("ciuser", PRETENDED_USER)):
        run.passwords[user] = hashed
    else:
        raise failure("Agent error: child process has failed to set user password")
    return {"result": {}}
