"""What the guest agent does in a real guest, as PVE passes it on."""

import base64
import shutil
import time

import pytest

from tests.sandbox.guest import GuestVm
from tests.sandbox.requests import VM, Pve

SIXTEEN_MIB = 16 * 1024 * 1024


@pytest.fixture
def guest(guests: Pve) -> GuestVm:
    return GuestVm.started(guests, 401, name="web")


def test_a_program_gets_its_arguments_as_they_are(guest: GuestVm) -> None:
    status = guest.run("/usr/bin/printf", "%s|", "a b", "$(id)", "ü", "; reboot")
    assert status["out-data"].encode("latin-1").decode() == "a b|$(id)|ü|; reboot|"
    assert guest.run("id", "-un") == {"exited": 1, "exitcode": 0, "out-data": "root\n", "out-truncated": 0}


def test_a_program_gets_its_input_byte_by_byte(guest: GuestVm) -> None:
    assert guest.run("wc", "-c", input_data="x" * 65_536)["out-data"] == "65536\n"
    assert guest.run("od", "-An", "-tx1", input_data="é")["out-data"].split() == ["e9"]
    assert "out-data" not in guest.run("cat", input_data="")
    message = guest.refused("POST", "exec", command=["cat"], input_data="€")
    assert message.startswith("Wide character in subroutine entry")


def test_a_program_that_ignores_its_input_does_no_harm(guest: GuestVm) -> None:
    assert guest.run("true", input_data="x" * 65_536) == {"exited": 1, "exitcode": 0}
    assert guest.run("echo", "on")["out-data"] == "on\n"


def test_binary_output_comes_back_as_latin_1(guest: GuestVm) -> None:
    assert guest.run("printf", "\\000\\377\\200\\n")["out-data"] == "\0\xff\x80\n"


def test_output_is_cut_off_at_16_mib(guest: GuestVm) -> None:
    status = guest.run("/bin/sh", "-c", "head -c 18000000 /dev/zero | tr '\\0' x; echo e >&2")
    assert (len(status["out-data"]), status["out-truncated"]) == (SIXTEEN_MIB, 1)
    assert (status["err-data"], status["err-truncated"], status["exitcode"]) == ("e\n", 0, 0)


def test_exit_codes_and_signals_are_told_apart(guest: GuestVm) -> None:
    assert guest.run("/bin/sh", "-c", "exit 255") == {"exited": 1, "exitcode": 255}
    assert guest.run("/bin/sh", "-c", "kill -TERM $$") == {"exited": 1, "signal": 15}


def test_a_program_that_left_its_output_to_another_has_not_ended(guest: GuestVm) -> None:
    pid = guest.begin("/bin/sh", "-c", "sleep 0.4 & echo done")
    time.sleep(0.1)
    assert guest.status(pid) == {"exited": 0}
    guest.wait(lambda: bool(guest.status(pid)["exited"]), "the background program")


def test_a_status_is_given_once(guest: GuestVm) -> None:
    pid = guest.begin("true")
    guest.wait(lambda: bool(guest.status(pid)["exited"]), "the program")
    assert guest.refused("GET", "exec-status", pid=pid) == "Agent error: Invalid parameter 'pid'"
    assert guest.refused("GET", "exec-status", pid=1) == "Agent error: Invalid parameter 'pid'"


@pytest.mark.parametrize("program", ["/no/such/program", "nosuchprogram", "/etc/passwd"])
def test_a_program_that_cannot_be_started_breaks_the_answer_off(guest: GuestVm, program: str) -> None:
    answer = guest.pve.send("POST", f"{guest.path}/agent/exec", command=[program])
    assert (answer.status_code, answer.content) == (596, b"")


def test_a_script_without_a_first_line_is_given_to_the_shell(guest: GuestVm) -> None:
    guest.write("/tmp/script", "echo $1\n")
    guest.run("chmod", "755", "/tmp/script")
    assert guest.run("/tmp/script", "hello")["out-data"] == "hello\n"


def test_files_are_written_anew_and_read_back(guest: GuestVm) -> None:
    guest.write("/srv/file", "a longer text")
    guest.write("/srv/file", "é")
    assert guest.read("/srv/file") == "é"
    assert guest.sh("stat -c '%s %a %U' /srv/file") == "1 666 root\n"
    guest.write("/srv/empty", "")
    assert guest.pve.ok("GET", f"{guest.path}/agent/file-read", file="/srv/empty") == {
        "bytes-read": 0,
        "content": "",
    }


def test_every_byte_survives_base64(guest: GuestVm) -> None:
    data = bytes(range(256)) * 3
    guest.write("/srv/bytes", base64.b64encode(data).decode(), encode=0)
    assert guest.read("/srv/bytes").encode("latin-1") == data


def test_what_is_no_base64_empties_the_file(guest: GuestVm) -> None:
    guest.write("/srv/file", "text")
    message = guest.refused("POST", "file-write", file="/srv/file", content="not base64!", encode=0)
    assert (message, guest.read("/srv/file")) == ("Agent error: Base64 data contains invalid characters", "")


def test_a_file_is_read_up_to_16_mib(guest: GuestVm) -> None:
    guest.sh(
        "head -c 17000000 /dev/zero | tr '\\0' x > /var/tmp/big; head -c 1048576 /var/tmp/big > /var/tmp/mib"
    )
    big = guest.pve.ok("GET", f"{guest.path}/agent/file-read", file="/var/tmp/big")
    assert (big["bytes-read"], len(big["content"]), big["truncated"]) == (SIXTEEN_MIB, SIXTEEN_MIB, 1)
    whole = guest.pve.ok("GET", f"{guest.path}/agent/file-read", file="/var/tmp/mib")
    assert (whole["bytes-read"], "truncated" in whole) == (1_048_576, False)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("/etc", "failed to open file '/etc' (mode: 'wb'): Is a directory"),
        ("/usr/x", "failed to open file '/usr/x' (mode: 'wb'): Read-only file system"),
        ("", "failed to open file '' (mode: 'wb'): No such file or directory"),
        ("/etc/passwd/x", "failed to open file '/etc/passwd/x' (mode: 'wb'): Not a directory"),
    ],
)
def test_a_file_that_cannot_be_written_is_named(guest: GuestVm, file: str, message: str) -> None:
    assert guest.refused("POST", "file-write", file=file, content="x") == f"Agent error: {message}"


def test_a_pipe_does_not_hold_the_agent_up(guest: GuestVm) -> None:
    guest.sh("mkfifo /tmp/pipe")
    assert guest.read("/tmp/pipe") == ""
    assert "No such device or address" in guest.refused("POST", "file-write", file="/tmp/pipe", content="x")


def test_passwords_are_set_at_once(guest: GuestVm) -> None:
    set_password = f"{guest.path}/agent/set-user-password"
    assert guest.pve.ok("POST", set_password, username="root", password="sesame-1") == {"result": {}}
    assert guest.read("/etc/shadow").splitlines()[0].startswith("root:$5$")
    guest.pve.ok("POST", set_password, username="debian", password="$6$salt$hash", crypted=1)
    assert "\ndebian:$6$salt$hash:" in guest.read("/etc/shadow")


@pytest.mark.parametrize(
    ("user", "password", "message"),
    [
        ("nosuch", "sesame-1", "child process has failed to set user password"),
        ("root:x", "sesame-1", "forbidden characters in username"),
        ("root\nx", "sesame-1", "forbidden characters in username"),
        ("root", "ses\name-1", "forbidden characters in raw password"),
    ],
)
def test_a_password_that_cannot_be_set_changes_nothing(
    guest: GuestVm, user: str, password: str, message: str
) -> None:
    before = guest.read("/etc/shadow")
    assert (
        guest.refused("POST", "set-user-password", username=user, password=password)
        == f"Agent error: {message}"
    )
    assert guest.read("/etc/shadow") == before


def test_the_guest_speaks_for_itself(guest: GuestVm) -> None:
    guest.sh("echo 'ID=other\nPRETTY_NAME=\"Other 1\"' > /etc/os-release; hostname changed")
    info = guest.pve.ok("GET", f"{guest.path}/agent/get-osinfo")["result"]
    assert (info["id"], info["pretty-name"], "version" in info) == ("other", "Other 1", False)
    assert guest.pve.ok("GET", f"{guest.path}/agent/get-host-name") == {"result": {"host-name": "changed"}}
    assert guest.pve.ok("GET", f"{guest.path}/agent/get-users") == {"result": []}


def test_without_an_agent_nothing_is_answered(guests: Pve) -> None:
    guests.clone(402)
    run = {"command": ["true"]}
    assert guests.message("POST", f"{VM}/402/agent/exec", **run) == (500, "VM 402 is not running")
    guests.ok("PUT", f"{VM}/402/config", agent=0)
    guest = GuestVm(guests, 402)
    guest.power("start")
    guest.wait_up()
    assert guest.refused("POST", "exec", **run) == "No QEMU guest agent configured"


def test_a_paused_guest_stands_still(guest: GuestVm) -> None:
    guest.begin("/bin/sh", "-c", "while echo >> /srv/ticks; do sleep 0.01; done")
    guest.power("suspend")
    assert guest.refused("POST", "exec", command=["true"]) == "QEMU guest agent is not running"
    guest.power("resume")
    first = len(guest.read("/srv/ticks"))
    guest.wait(lambda: len(guest.read("/srv/ticks")) > first, "the program to go on")


def test_the_interfaces_show_where_sshd_is_reached(guests: Pve) -> None:
    guest = GuestVm.started(guests, 403, ipconfig0="ip=10.99.0.7/24,gw=10.99.0.1", net1="virtio,bridge=vmbr0")
    mac = guest.pve.config(403)["net0"].split("=")[1].split(",")[0].lower()
    lo, eth0, eth1 = guest.pve.ok("GET", f"{guest.path}/agent/network-get-interfaces")["result"]
    assert (lo["name"], eth0["name"], eth0["hardware-address"], eth1["name"]) == ("lo", "eth0", mac, "eth1")
    assert {
        (a["ip-address"], a["prefix"]) for a in eth0["ip-addresses"] if a["ip-address-type"] == "ipv4"
    } == {
        ("10.99.0.7", 24),
        (guest.ssh["host"], 8),
    }


@pytest.mark.skipif(shutil.which("ip", path="/usr/sbin:/usr/bin") is None, reason="needs iproute2")
def test_the_interfaces_are_those_inside_the_guest(guests: Pve) -> None:
    guest = GuestVm.started(guests, 404, ipconfig0="ip=10.99.0.8/24,gw=10.99.0.1,ip6=fd00::8/64")
    assert "default via 10.99.0.1 dev eth0" in guest.sh("ip route")
    guest.sh("ip address add 10.99.0.9/24 dev eth0")
    (_, eth0) = guest.pve.ok("GET", f"{guest.path}/agent/network-get-interfaces")["result"]
    assert {"10.99.0.8", "10.99.0.9", "fd00::8"} <= {a["ip-address"] for a in eth0["ip-addresses"]}
