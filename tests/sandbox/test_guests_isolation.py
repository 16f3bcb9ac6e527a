"""A guest is on its own: it sees nothing of the host, harms nobody, and leaves nothing behind."""

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.sandbox.guest import GuestVm
from tests.sandbox.requests import Pve
from tests.support.guests import SshClient, alive, descendants, require_guests
from tests.support.processes import JOTUNHEIM, wait_for
from tests.support.sandbox import Sandbox


@pytest.fixture
def guest(guests: Pve) -> GuestVm:
    return GuestVm.started(guests, 451)


def test_a_guest_sees_no_files_or_processes_of_the_host(guest: GuestVm, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    ca = guest.pve.sandbox.ready["ca_pem_file"]
    seen = guest.sh(
        f"cat {secret} {ca} /proc/1/environ /proc/1/root/etc/hostname; ls /proc/1/fd; ls /sys /root /home"
    )
    assert seen.count("No such file") == 2
    assert seen.count("Permission denied") >= 2
    assert seen.startswith("/home:\ndebian\n\n/root:\n\n/sys:\n")
    assert guest.sh("ls -d /proc/[0-9]* | wc -l").strip() in ("3", "4")  # init, sh, ls, wc
    assert guest.sh("tr '\\0' ' ' < /proc/1/cmdline").strip() == "/sbin/init"
    assert guest.sh("env -u PWD | sort") == (
        "LANG=C.UTF-8\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    )


def test_a_guest_reaches_no_port_of_the_host(guest: GuestVm) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f"exec 3<>/dev/tcp/127.0.0.1/{port}"
        assert "Connection refused" in guest.run("bash", "-c", script)["err-data"]


@pytest.mark.parametrize(
    "script",
    [
        "echo x > /usr/bin/x",
        "rm -f /usr/bin/env",
        "mount -o remount,rw /usr",
        "umount /usr",
        "mknod /tmp/sda b 8 0 && cat /tmp/sda",
        "echo 1 > /proc/sys/kernel/panic",
        "echo b > /proc/sysrq-trigger",
        "date -s 2001-01-01",
        "nsenter -t 1 -m true",
        "kill -9 1; test ! -d /proc/1",
    ],
)
def test_root_in_a_guest_changes_nothing_outside(guest: GuestVm, script: str) -> None:
    assert guest.run("sh", "-c", script).get("exitcode") != 0
    assert guest.run("env", "true") == {"exited": 1, "exitcode": 0}


def test_killing_everything_leaves_the_agent(guest: GuestVm) -> None:
    pid = guest.begin("sleep", "60")
    guest.sh("kill -9 -1")
    guest.wait(lambda: guest.status(pid) == {"exited": 1, "signal": 9}, "the program to be killed")


def test_a_fork_bomb_stays_in_its_guest(guest: GuestVm) -> None:
    other = GuestVm.started(guest.pve, 452)
    guest.begin("bash", "-c", "while :; do sleep 60 & done")
    guest.wait(
        lambda: guest.pve.send("POST", f"{guest.path}/agent/exec", command=["true"]).status_code == 500, "it"
    )
    assert guest.refused("POST", "exec", command=["true"]) == (
        "Agent error: Guest agent command failed, error was 'Failed to fork (Resource temporarily unavailable)'"
    )
    assert other.run("echo", "well")["out-data"] == "well\n"
    guest.power("stop")
    guest.power("start")
    guest.wait_up()
    assert guest.run("echo", "well")["out-data"] == "well\n"


def test_links_and_dots_lead_nowhere(guest: GuestVm, tmp_path: Path) -> None:
    inside = "../../../../../../.." + str(tmp_path)
    message = guest.refused("POST", "file-write", file=f"/{inside}/x", content="x")
    assert message.endswith("No such file or directory")
    guest.sh(f"ln -s {inside} /srv/out; mkdir -p {tmp_path}")
    guest.write("/srv/out/x", "x")
    assert list(tmp_path.iterdir()) == []


def test_mount_points_that_are_links_are_replaced(guest: GuestVm) -> None:
    guest.sh("umount -l /tmp /run /dev; rmdir /tmp /run; ln -s /etc /tmp; ln -s ../../other /run")
    guest.power("stop")
    guest.power("start")
    guest.wait_up()
    assert guest.sh("stat -c %F /tmp /run /dev") == "directory\n" * 3


def test_a_disk_that_is_full_is_full(guest: GuestVm) -> None:
    assert "No space left" in guest.sh("head -c 400000000 /dev/zero > /var/tmp/x; rm /var/tmp/x")


@pytest.mark.parametrize(
    "command",
    [
        "poweroff",
        "shutdown -h now",
        "kill -s USR2 1",
        pytest.param(
            "python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321fedc)'",
            marks=pytest.mark.skipif(
                not Path("/usr/bin/python3").exists(), reason="needs the host's python3"
            ),
        ),
    ],
)
def test_a_guest_that_powers_itself_off_stops_its_vm(guest: GuestVm, command: str) -> None:
    guest.begin("sh", "-c", command)
    guest.wait(lambda: guest.control()["status"] == "stopped", "the VM to stop")
    guest.power("start")
    guest.wait_up()


def test_a_guest_that_reboots_itself_boots_anew(guest: GuestVm) -> None:
    guest.sh("touch /run/before /srv/before")
    guest.begin("reboot")
    read = f"{guest.path}/agent/file-read"
    guest.wait(lambda: "No such file" in guest.pve.send("GET", read, file="/run/before").text, "the new boot")
    assert guest.control()["status"] == "running"
    assert guest.sh("ls -d /srv/before") == "/srv/before\n"


def test_a_shutdown_lets_programs_end_in_order(guest: GuestVm) -> None:
    guest.begin("sh", "-c", "trap 'echo bye > /srv/bye; exit' TERM; while :; do sleep 0.01; done")
    guest.wait(lambda: "while" in guest.sh("cat /proc/[0-9]*/cmdline"), "the program")
    guest.power("shutdown")
    guest.power("start")
    guest.wait_up()
    assert guest.read("/srv/bye") == "bye\n"


def test_nobody_gets_in_after_a_stop(guest: GuestVm, ssh: SshClient) -> None:
    where = guest.ssh
    guest.power("stop")
    asked = ssh.run(where, "debian", "true")
    assert (asked.returncode, "refused" in asked.stderr) == (255, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_guests_end_with_the_sandbox(tmp_path: Path, number: signal.Signals) -> None:
    require_guests()
    with Sandbox.start(tmp_path, time_scale=0, guests="process") as sandbox:
        mounts = Path("/proc/self/mounts").read_text()
        guest = GuestVm.started(Pve(sandbox), 461)
        guest.begin("sh", "-c", "trap '' TERM HUP INT; setsid sleep 600 & sleep 600")
        guest.wait(lambda: "sleep" in guest.sh("cat /proc/[3-9]/cmdline"), "the programs")
        tree = descendants(sandbox.process.pid)
        assert len(tree) >= 6, tree
        sandbox.process.send_signal(number)
        sandbox.process.wait(20)
        wait_for(lambda: not [pid for pid in tree if alive(pid)], "the guests to end")
        assert Path("/proc/self/mounts").read_text() == mounts


@pytest.mark.parametrize(
    ("before", "named"),
    [
        ("true", "has only 1 ids"),
        ("mount -t tmpfs none /usr/sbin", "sshd is missing (Debian: openssh-server)"),
    ],
)
def test_what_is_missing_is_said_in_one_line(before: str, named: str) -> None:
    require_guests()
    enter = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'{before} && exec "$@"', "-"]
    command = [*enter, JOTUNHEIM, "sandbox", "--guests", "process", "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith("--guests: 'process' is not possible here: ")
    assert named in done.stderr
