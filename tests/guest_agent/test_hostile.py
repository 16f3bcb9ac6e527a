"""What a guest answers is its own affair: it may be anything, and must not harm us."""

import gzip
import io
from base64 import b64encode
from typing import Any

import pytest

from jotunheim.exceptions.repository import GuestRefusedError
from tests.guest_agent.conftest import GuestCommands

from ansible_collections.jotunheim.pve.plugins.plugin_utils import guest_files  # isort: skip
from ansible_collections.jotunheim.pve.plugins.plugin_utils.guest_commands import Result  # isort: skip

DIGEST = "0" * 64


class Liar:
    """An agent with one answer."""

    def __init__(self, **status: Any) -> None:
        self.status = {"exited": 1, "exitcode": 0, **status}

    def start(self, *_: Any, **__: Any) -> int:
        return 1

    def wait(self, *_: Any) -> dict[str, Any]:
        return self.status


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"out-data": ""},
        {"out-data": "jotunheim done \n"},
        {"out-data": "jotunheim done -1\n"},
        {"out-data": "jotunheim done 99999999999999999999\n"},
        {"out-data": "jotunheim done 0", "out-truncated": 1},
        {"out-data": "jotunheim\xff\n", "err-data": "\x1b[31m" + "x" * 10_000},
    ],
)
def test_a_runner_that_says_nonsense_is_refused(status: dict[str, Any]) -> None:
    commands = GuestCommands(Liar(**status), 5)  # type: ignore[arg-type]
    with pytest.raises(GuestRefusedError) as raised:
        commands.run("true")
    assert raised.value.message.isprintable()
    assert len(raised.value.message) < 500


@pytest.mark.parametrize(
    "piece",
    [
        b64encode(gzip.compress(bytes(500_000_000), 1)),
        b64encode(gzip.compress(b"short")),
        b64encode(b"no gzip"),
        b"no base64 \xff",
        b"",
    ],
    ids=["bomb", "short", "no-gzip", "no-base64", "nothing"],
)
def test_a_file_s_pieces_cannot_be_more_than_was_asked_for(piece: bytes) -> None:
    asked = []

    class Guest:
        def run(self, command: str) -> Result:
            asked.append(command)
            told = f"{10**15}\n{DIGEST}  -\n".encode()
            return Result(0, told if len(asked) == 1 else piece if len(asked) == 2 else b"", b"")

    target = io.BytesIO()
    with pytest.raises(GuestRefusedError, match="changed meanwhile"):
        guest_files.fetch(Guest(), "/srv/file", target)  # type: ignore[arg-type]
    assert len(target.getvalue()) <= 1024**2
    assert len(asked) <= 3
