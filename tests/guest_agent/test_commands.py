"""Commands and files in a guest, undisturbed: what goes in and comes out is what was meant, to the byte."""

import hashlib
import io
import os
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jotunheim.exceptions.repository import GuestRefusedError, GuestTimeoutError
from tests.guest_agent.conftest import GuestCommands, Server

from ansible_collections.jotunheim.pve.plugins.plugin_utils import guest_files, guest_scripts  # isort: skip


def put(commands: GuestCommands, data: bytes, path: str) -> None:
    guest_files.put(commands, io.BytesIO(data), path)


def fetched(commands: GuestCommands, path: str) -> bytes:
    target = io.BytesIO()
    guest_files.fetch(commands, path, target)
    return target.getvalue()


def test_a_command_arrives_as_it_is_and_tells_what_it_did(commands: GuestCommands) -> None:
    script = """printf '%s|' "a'b" 'ü€{{ x }}' 'two\nlines' '$(id) \\ "q"'; echo wrong >&2; exit 7\n\n"""
    code, out, err = commands.run(script)
    assert (code, err) == (7, b"wrong\n")
    assert out.decode() == 'a\'b|ü€{{ x }}|two\nlines|$(id) \\ "q"|'
    assert commands.run("kill -9 $$").code == 137
    assert commands.run(f"printf '%s' '{os.fsdecode(b'caf' + bytes([233]))}'").out == b"caf\xe9"
    assert commands.run("#" * 47_000 + "\necho on").out == b"on\n"
    assert commands.run("printf '\\377\\000\\r\\n'").out == b"\xff\x00\r\n"


def test_a_command_runs_as_root_with_an_environment_like_that_of_a_login(commands: GuestCommands) -> None:
    script = "id -un; pwd; umask; echo $HOME $USER $LANG; echo $PATH"
    user, where, mask, home, path = commands.run(script).out.decode().splitlines()
    assert (user, where, mask, home) == ("root", "/root", "0022", "/root root C.UTF-8")
    assert "/usr/sbin" in path.split(":")


@pytest.mark.parametrize(
    "data",
    [b"", b"a line\n", b"x" * 65_536, b"x" * 65_537, "ü\r\n".encode(), bytes(range(256)) * 20_000],
    ids=["none", "short", "most", "more", "not-ascii", "binary-5-mb"],
)
def test_input_arrives_to_the_byte(commands: GuestCommands, data: bytes) -> None:
    assert commands.run("sha256sum", data).out.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_a_command_that_reads_no_input_and_one_that_reads_to_its_end_both_end(
    commands: GuestCommands,
) -> None:
    assert commands.run("true", b"x" * 60_000).code == 0
    assert commands.run("cat").out == b""


@pytest.mark.parametrize(
    ("size", "path"),
    [(0, "/srv/empty"), (300_000, "/srv/small"), (5_500_000, "/srv/an ü 'odd' \"name\" {{ x }}\n-")],
)
def test_a_file_goes_there_and_back(commands: GuestCommands, size: int, path: str) -> None:
    data = os.urandom(size)
    put(commands, data, path)
    assert fetched(commands, path) == data
    put(commands, b"other", path)
    assert fetched(commands, path) == b"other"


def test_a_command_is_not_seen_among_the_guest_s_processes(commands: GuestCommands) -> None:
    command = "ps axww -o args # canary-in-a-command"
    seen = commands.run(command).out
    assert b"/bin/sh -c" in seen
    assert b"canary" not in seen
    assert b64encode(command.encode()) not in seen


def test_a_file_that_is_written_is_seen_by_root_alone(commands: GuestCommands) -> None:
    put(commands, b"secret", "/srv/secret")
    assert commands.run("stat -c %a:%U /srv/secret").out == b"600:root\n"


def test_a_file_that_arrives_torn_leaves_the_old_one_in_place(
    commands: GuestCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(commands, b"old", "/srv/torn")
    write = commands.calls.write

    def lose_one(file: str, content: str) -> None:
        if not file.endswith("00000001"):
            write(file, content)

    monkeypatch.setattr(commands.calls, "write", lose_one)
    with pytest.raises(GuestRefusedError, match="did not arrive whole"):
        put(commands, os.urandom(200_000), "/srv/torn")
    assert fetched(commands, "/srv/torn") == b"old"
    assert b".jotunheim" not in commands.run("ls -A /srv").out


def test_what_cannot_be_written_or_read_is_said(commands: GuestCommands) -> None:
    for path, said in (("/srv", "it is a directory"), ("/no/such", "nonexistent")):
        with pytest.raises(GuestRefusedError, match=said):
            put(commands, b"x", path)
    for path, said in (("/srv", "Is a directory"), ("/no/such", "No such file")):
        with pytest.raises(GuestRefusedError, match=said):
            fetched(commands, path)
    with pytest.raises(GuestRefusedError, match="100000 bytes"):
        commands.run("#" * 100_000)


def test_output_that_does_not_fit_is_an_error_and_never_cut(commands: GuestCommands) -> None:
    fits = commands.run("head -c 6000000 /dev/zero | tr '\\0' x; echo e >&2")
    assert (len(fits.out), fits.err) == (6_000_000, b"e\n")
    for script in ("head -c 17000000 /dev/zero", "head -c 17000000 /dev/zero >&2"):
        with pytest.raises(GuestRefusedError, match="more than can be passed on"):
            commands.run(script)
    assert commands.run("echo on").out == b"on\n"


def test_a_command_that_does_not_end_is_ended_with_all_it_started(server: Server) -> None:
    commands = server.commands(command_seconds=0.5)
    began = time.monotonic()
    with pytest.raises(GuestTimeoutError, match=r"within 0\.5 s"):
        commands.run("sleep 4711 & trap '' TERM; while :; do sleep 4712; done")
    assert time.monotonic() - began < 15
    assert b"471" not in server.commands().run("ps ax -o args | grep '^sleep'").out
    commands.close()


def test_nothing_stays_in_the_guest(server: Server, commands: GuestCommands) -> None:
    folder = guest_scripts.FOLDER
    commands.run("true")
    assert server.guest.sh(f"stat -c %a {folder}") == "700\n"
    commands.close()
    server.guest.sh(
        f"cd {folder} && mkdir dead live && echo 999999 >dead/pid && echo 1 >live/pid && echo x >old.in"
    )
    server.guest.sh(f"touch -d '2 hours ago' {folder}/*")
    commands.run("cat", b"\xff" * 100_000)
    put(commands, os.urandom(3_000_000), "/srv/some")
    with pytest.raises(GuestRefusedError):
        put(commands, b"x", "/no/such")
    commands.close()
    assert server.guest.sh(f"ls -A {folder}") == "live\n"
    server.guest.sh(f"rm -r {folder}/live")


def test_many_at_once_do_not_disturb_each_other(server: Server) -> None:
    def work(number: int) -> None:
        commands, data = server.commands(), os.urandom(400_000)
        for _ in range(3):
            put(commands, data, f"/srv/of-{number}")
            assert fetched(commands, f"/srv/of-{number}") == data
            assert commands.run("cat", b"%d" % number * 70_000).out == b"%d" % number * 70_000
        commands.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert server.guest.sh(f"ls -A {guest_scripts.FOLDER}") == ""


def test_what_is_sent_to_the_node_is_ascii_and_within_its_limits(
    server: Server, commands: GuestCommands
) -> None:
    since = server.sandbox.requests_logged()
    commands.run("cat # ü", "ü".encode() * 100_000)
    sent = server.sandbox.request_log(since)
    assert {Path(entry["path"]).name for entry in sent} == {"file-write", "exec", "exec-status"}
    assert str([entry["params"] for entry in sent]).isascii()
