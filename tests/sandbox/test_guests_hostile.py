"""A caller who may run anything as root in a guest: what they try against the host, the sandbox and other guests."""

import asyncio
import json
import os
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from jotunheim.sandbox.guests import seccomp
from jotunheim.sandbox.guests.link import MOST_UNREAD, GuestLink
from tests.sandbox.guest import GuestVm
from tests.sandbox.requests import Pve
from tests.support.guests import SshClient, descendants
from tests.support.processes import wait_for

SIXTEEN_MIB = 16 * 1024 * 1024
NUMBERS = seccomp.ARCHITECTURES.get(os.uname().machine)
needs_filter = pytest.mark.skipif(NUMBERS is None, reason="no filter for this kind of machine")
SET_HOST_NAME = {"x86_64": 170}.get(os.uname().machine, 161)
HOLD = "$SIG{IO} = 'IGNORE'; open F, '>', $ARGV[0]; chmod 0755, F; fcntl F, 1024, 1 or die $!; print qq(held\\n); sleep 60"
"""Takes a write lease on a file: whoever opens it waits up to 45 s."""


@pytest.fixture
def guest(guests: Pve) -> GuestVm:
    return GuestVm.started(guests, 481)


def held(guest: GuestVm, file: str) -> int:
    """Have a program in the guest hold a file up. Returns its process id."""
    pid = guest.begin("perl", "-e", f"$| = 1; {HOLD}", file)
    guest.wait(lambda: guest.sh(f"cat /proc/locks | grep -c LEASE; ls {file}").startswith("1"), "the lease")
    return pid


@pytest.mark.parametrize("put", ["mkfifo $0", "ln -s /dev/zero $0", "truncate -s 200M $0", "mkdir $0"])
def test_no_file_of_the_guest_holds_the_agent_up(guest: GuestVm, put: str) -> None:
    for file in ("/etc/os-release", "/run/utmp", "/etc/passwd"):
        guest.run("sh", "-c", f"rm -f $0; {put}", file)
    began = time.monotonic()
    assert "id" not in guest.pve.ok("GET", f"{guest.path}/agent/get-osinfo")["result"]
    assert guest.pve.ok("GET", f"{guest.path}/agent/get-users") == {"result": []}
    assert "Agent error" in guest.refused("POST", "set-user-password", username="root", password="sesame-1")
    assert guest.run("echo", "on")["out-data"] == "on\n"
    assert time.monotonic() - began < 3


def test_no_file_of_the_guest_holds_its_boot_up(guest: GuestVm) -> None:
    files = "/etc/hostname /etc/hosts /etc/resolv.conf /etc/localtime /var/log/cloud-init.log"
    guest.sh(f"rm -f {files}; mkfifo {files}; rm -r /etc/skel; ln -s / /etc/skel")
    guest.pve.ok("PUT", f"{guest.path}/config", ciuser="eve", cipassword="sesame-12", searchdomain="x.test")
    guest.power("stop")
    guest.power("start")
    guest.wait_up()
    assert guest.sh("cloud-init status; ls -d /home/eve").startswith("status: error\n")


def test_a_guest_whose_init_hangs_can_be_stopped(guest: GuestVm) -> None:
    held(guest, "/srv/program")
    path = f"{guest.path}/agent/exec"
    hanging = threading.Thread(target=lambda: guest.pve.send("POST", path, command=["/srv/program"]))
    hanging.start()
    time.sleep(0.2)
    guest.power("stop")
    guest.power("start")
    guest.wait_up()
    hanging.join(10)
    assert not hanging.is_alive()


def test_the_sandbox_does_not_wait_for_a_guest_that_is_silent() -> None:
    async def knock(link: GuestLink) -> None:
        for _ in range(5000):
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(link.connect(), 0.0001)

    async def talk() -> None:
        link = GuestLink()
        unheard = [os.dup(end.fileno()) for end in (link.their_channel, link.their_dial)]
        await link.open()
        with pytest.raises(TimeoutError):
            await link.ask("exec", within=0.01)
        with pytest.raises(TimeoutError):
            await link.ask("file-write", bytes(2 * MOST_UNREAD), within=0.01)
        with pytest.raises(TimeoutError, match="does not read"):
            await link.ask("exec")
        with pytest.raises(BlockingIOError):
            await knock(link)
        for number in unheard:
            os.close(number)
        link.close()

    asyncio.run(asyncio.wait_for(talk(), 15))


def test_the_api_answers_others_while_it_sends_a_long_file(guest: GuestVm) -> None:
    api, sent, slowest = guest.pve.sandbox.api, bytearray(), 0.0
    trusted = ssl.create_default_context(cafile=guest.pve.sandbox.ready["ca_pem_file"])
    path, params = f"{guest.path}/agent/file-read", {"file": "/dev/zero"}

    def read() -> None:
        with (
            httpx.Client(base_url=api.base_url, headers=api.headers, verify=trusted, timeout=30) as other,
            other.stream("GET", path, params=params) as answer,
        ):
            for part in answer.iter_bytes():
                sent.extend(part)

    reading = threading.Thread(target=read)
    reading.start()
    while reading.is_alive():
        began = time.monotonic()
        guest.pve.ok("GET", "/version")
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 0.7
    content = "\0" * SIXTEEN_MIB
    assert json.loads(sent)["data"] == {"bytes-read": SIXTEEN_MIB, "truncated": 1, "content": content}


def test_endless_output_leaves_the_agent_answering(guest: GuestVm) -> None:
    pid = guest.begin("yes")
    assert guest.run("echo", "on")["out-data"] == "on\n"
    assert guest.status(pid) == {"exited": 0}
    guest.sh(f"kill {pid}")


def test_a_copy_of_a_disk_in_use_sees_that_disk_only(guest: GuestVm) -> None:
    holder = held(guest, "/srv/held")
    guest.sh("echo kept > /srv/kept")
    task = guest.pve.ok("POST", f"{guest.path}/snapshot", snapname="one")
    sandbox = guest.pve.sandbox.process.pid

    def copying() -> Path | None:
        named = [Path(f"/proc/{pid}") for pid in descendants(sandbox)]
        return next((path for path in named if (path / "comm").read_text() == "cp\n"), None)

    root = wait_for(copying, "the copy to begin") / "root"
    seen = {path.name for path in root.iterdir()}
    assert (
        {"usr", "source", "target"}
        <= seen
        <= {"usr", "source", "target", "bin", "sbin"} | {path.name for path in Path("/").glob("lib*")}
    )
    guest.sh(f"kill {holder}")
    assert guest.pve.ended(task) == "OK"
    guest.power("stop")
    assert guest.pve.task("POST", f"{guest.path}/snapshot/one/rollback") == "OK"
    guest.power("start")
    guest.wait_up()
    assert guest.read("/srv/kept") == "kept\n"


@needs_filter
@pytest.mark.parametrize(
    "script",
    [
        "mount -t tmpfs -o size=2g none /mnt",
        "mount -o remount,size=2g /tmp",
        "unshare -Urm mount -t tmpfs none /mnt",
        "unshare -C mount -t cgroup2 none /mnt",
        # The upper half of the flags is magic from old times, and looks like MS_PRIVATE.
        "perl -e '$s = q(none); $t = q(/mnt); $k = q(tmpfs);"
        " exit(syscall($ARGV[0], $s, $t, $k, 0xC0ED0000, 0) ? 1 : 0)' NUMBER",
        # MS_REMOUNT together with MS_PRIVATE: the kernel looks at the first.
        "perl -e '$s = q(none); $t = q(/tmp); $d = q(size=2g);"
        " exit(syscall($ARGV[0], $s, $t, 0, 0x40020, $d) ? 1 : 0)' NUMBER",
    ],
)
def test_a_guest_gets_no_more_memory_for_files(guest: GuestVm, script: str) -> None:
    assert NUMBERS
    assert guest.run("sh", "-c", script.replace("NUMBER", str(NUMBERS.mount)))["exitcode"] != 0
    assert guest.sh("mkdir -p /srv/a && mount --bind /srv /mnt && ls /mnt && umount /mnt") == "a\n"


def test_empty_files_are_bounded_too(guest: GuestVm) -> None:
    script = "for (1..20000) { open F, '>', qq($ARGV[0]/x$_) or die $! }"
    for folder in ("/run", "/tmp", "/dev/shm"):
        assert "No space left" in guest.run("perl", "-e", script, folder)["err-data"]


@needs_filter
def test_what_knows_no_namespaces_is_closed(guest: GuestVm) -> None:
    assert NUMBERS
    calls = "for (@ARGV) { $! = 0; syscall $_, 0, -3, 0, 0, 0; print $! + 0, ' ' }"
    numbers = [*NUMBERS.refused, *seccomp.NEW_EVERYWHERE]
    answered = guest.run("perl", "-e", calls, *map(str, numbers))["out-data"]
    assert answered.split() == ["1"] * len(NUMBERS.refused) + ["38"] * len(seccomp.NEW_EVERYWHERE)
    # AF_VSOCK, AF_ALG, AF_BLUETOOTH
    sockets = "for (40, 38, 31) { socket S, $_, 1, 0; print $! + 0, ' ' }"
    assert guest.run("perl", "-e", sockets)["out-data"] == "97 97 97 "


def test_the_hosts_local_programs_cannot_be_uncovered(guest: GuestVm) -> None:
    assert guest.sh("umount /usr/local; umount /usr/local; ls -A /usr/local; true").count("\n") <= 1
    assert guest.run("sh", "-c", "ls /usr/local/bin")["exitcode"] != 0


def test_guests_go_first_when_memory_runs_out(guest: GuestVm) -> None:
    assert guest.sh("cat /proc/self/oom_score_adj /proc/1/oom_score_adj") == "1000\n1000\n"


def test_a_program_inherits_no_descriptor(guest: GuestVm) -> None:
    guest.sh("umount /dev/null; rm /dev/null; mkfifo /dev/null")
    script = "opendir D, '/proc/self/fd'; print join ' ', map { readlink qq(/proc/self/fd/$_) } sort grep { /0/ || $_ > 2 } grep { /\\d/ } readdir D"
    seen = guest.run("perl", "-e", script)["out-data"].split()
    assert seen[0].startswith("/dev/null")
    assert all(name.startswith("/proc/") for name in seen[1:])


def test_keys_go_to_nobody_elses_folder(guest: GuestVm, ssh: SshClient) -> None:
    guest.sh("rm -rf /home/debian/.ssh; setpriv --reuid 1000 --clear-groups ln -s /etc /home/debian/.ssh")
    guest.pve.ok("PUT", f"{guest.path}/config", sshkeys=quote(ssh.public_key, safe=""))
    guest.power("reboot")
    guest.wait_up()
    assert guest.sh("cloud-init status") == "status: error\n"
    assert guest.sh("stat -c '%U %a' /etc; ls /etc/authorized_keys").startswith("root 755\nls: cannot access")


@pytest.mark.parametrize("character", ["\r", "\x0b", "\x1c", "\x85"])
def test_a_password_hash_stays_one_line(guest: GuestVm, character: str) -> None:
    before = guest.sh("wc -l < /etc/shadow")
    for hashed in (f"$6$salt$a{character}root", "$6$salt$b"):
        call = {"username": "debian", "password": hashed, "crypted": 1}
        guest.pve.send("POST", f"{guest.path}/agent/set-user-password", **call)
    assert guest.sh("wc -l < /etc/shadow; tail -n 1 /etc/shadow").startswith(f"{before}debian:$6$salt$b:")


def test_a_host_name_that_is_no_text_is_told(guest: GuestVm) -> None:
    guest.run("perl", "-e", f"$n = qq(\\xffx); syscall({SET_HOST_NAME}, $n, 2)")
    assert guest.pve.ok("GET", f"{guest.path}/agent/get-host-name") == {"result": {"host-name": "\ufffdx"}}
