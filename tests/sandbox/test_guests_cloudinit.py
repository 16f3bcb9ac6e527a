"""Cloud-init data in a real guest: what it sets, when, and what it does not fall for."""

import time
from urllib.parse import quote

import pytest

from tests.sandbox.guest import GuestVm
from tests.sandbox.requests import VM, Pve
from tests.support.guests import SshClient

PASSWORD = "correct horse 9"


def test_a_user_gets_in_with_its_key_and_with_its_password(guests: Pve, ssh: SshClient) -> None:
    keys = quote(ssh.public_key, safe="")
    guest = GuestVm.started(guests, 411, name="web-1", ciuser="ada", cipassword=PASSWORD, sshkeys=keys)
    asked = ssh.run(guest.ssh, "ada", "id -un; hostname; cloud-init status --wait | tail -n 1; echo $HOME")
    assert (asked.stdout, asked.returncode) == ("ada\nweb-1\nstatus: done\n/home/ada\n", 0), asked.stderr
    assert ssh.run(guest.ssh, "ada", "id -un", password=PASSWORD).stdout == "ada\n"
    assert ssh.run(guest.ssh, "ada", "id -un", password="wrong-one").returncode == 255
    assert ssh.run(guest.ssh, "root", "id -un").returncode == 255


def test_the_password_works_later_than_sshd(guests: Pve, ssh: SshClient) -> None:
    guests.control.patch("/settings", json={"time_scale": 1, "durations": SLOW}).raise_for_status()
    keys = quote(ssh.public_key, safe="")
    guests.clone(412)
    guests.ok("PUT", f"{VM}/412/config", cipassword=PASSWORD, sshkeys=keys)
    guest = GuestVm(guests, 412)
    guest.power("start")
    guest.wait(lambda: guest.control()["agent_answers"], "the agent")
    assert ssh.run(guest.ssh, "debian", "id -un", password=PASSWORD).returncode == 255
    began = time.monotonic()
    waited = ssh.run(guest.ssh, "debian", "cloud-init status --wait; cloud-init status")
    assert waited.stdout.splitlines()[-1] == "status: done"
    assert time.monotonic() - began > 0.2
    assert ssh.run(guest.ssh, "debian", "id -un", password=PASSWORD).stdout == "debian\n"


SLOW = {"clone": 0, "start": 0, "config": 0, "stop": 0, "boot": 0.3, "cloud_init": 1.5, "agent_silence": 0}


@pytest.fixture(autouse=True)
def _usual_durations(guests: Pve) -> None:
    """What one test makes slow is quick for the next."""
    usual = {"clone": 0.4, "start": 1.0, "stop": 0.6, "boot": 12.0, "cloud_init": 4.0, "agent_silence": 3.0}
    guests.control.patch("/settings", json={"durations": usual}).raise_for_status()


def test_sshd_refuses_connections_until_the_guest_has_booted(guests: Pve, ssh: SshClient) -> None:
    guests.control.patch("/settings", json={"time_scale": 1, "durations": SLOW | {"boot": 60}})
    guests.clone(413)
    guest = GuestVm(guests, 413)
    guest.power("start")
    guest.wait(lambda: bool(guest.control()["guest"]["ssh"]), "an address")
    asked = ssh.run(guest.ssh, "debian", "true")
    assert (asked.returncode, "refused" in asked.stderr) == (255, True)
    assert guest.refused("POST", "exec", command=["true"]) == "QEMU guest agent is not running"


def test_root_can_be_the_user(guests: Pve, ssh: SshClient) -> None:
    guest = GuestVm.started(guests, 414, ciuser="root", cipassword=PASSWORD)
    assert ssh.run(guest.ssh, "root", "id -u", password=PASSWORD).stdout == "0\n"


def test_a_changed_password_applies_at_the_next_boot(guests: Pve, ssh: SshClient) -> None:
    guest = GuestVm.started(guests, 415, cipassword=PASSWORD)
    guest.write("/home/debian/note", "kept")
    guests.ok(
        "PUT",
        f"{guest.path}/config",
        cipassword="another-pass-1",
        nameserver="9.9.9.9",
        searchdomain="x.test",
    )
    assert ssh.run(guest.ssh, "debian", "true", password=PASSWORD).returncode == 0
    guest.power("reboot")
    guest.wait_up()
    assert ssh.run(guest.ssh, "debian", "cat note", password="another-pass-1").stdout == "kept"
    assert ssh.run(guest.ssh, "debian", "true", password=PASSWORD).returncode == 255
    assert guest.read("/etc/resolv.conf") == "nameserver 9.9.9.9\nsearch x.test\n"


def test_what_the_guest_changed_stays_while_the_instance_is_the_same(guests: Pve, ssh: SshClient) -> None:
    guest = GuestVm.started(guests, 416, cipassword=PASSWORD)
    guest.pve.ok("POST", f"{guest.path}/agent/set-user-password", username="debian", password="by-agent-7")
    host_key = guest.read("/etc/ssh/ssh_host_ed25519_key.pub")
    guest.power("reboot")
    guest.wait_up()
    assert ssh.run(guest.ssh, "debian", "true", password="by-agent-7").returncode == 0
    assert guest.read("/etc/ssh/ssh_host_ed25519_key.pub") == host_key


def test_a_configured_loopback_address_is_the_one_of_sshd(guests: Pve) -> None:
    guest = GuestVm.started(guests, 417, ipconfig0="ip=127.77.4.17/24,gw=127.77.4.1")
    assert guest.ssh["host"] == "127.77.4.17"
    (_, eth0) = guest.pve.ok("GET", f"{guest.path}/agent/network-get-interfaces")["result"]
    assert [a["ip-address"] for a in eth0["ip-addresses"] if a["ip-address-type"] == "ipv4"] == [
        "127.77.4.17"
    ]
    second = GuestVm.started(guests, 418, ipconfig0="ip=127.77.4.17/24")
    assert second.control()["guest"]["ssh"] is None


@pytest.mark.parametrize("user", ["root; rm -rf /", "$(touch /x)", "../../x", "-r", "a:b", "x\nroot"])
def test_a_user_name_that_debian_refuses_makes_no_user(guests: Pve, user: str) -> None:
    guests.clone(419)
    guests.control.patch("/vms/419", json={"config": {"ciuser": user}}).raise_for_status()
    guest = GuestVm(guests, 419)
    guest.power("start")
    guest.wait_up()
    assert guest.sh("ls /home; test -e /x && echo x; tail -n 1 /etc/passwd").startswith("nobody:")
    assert guest.sh("cloud-init status") == "status: error\n"
    assert "invalid user name" in guest.read("/var/log/cloud-init.log")


def test_a_host_name_is_no_command(guests: Pve) -> None:
    guests.clone(420)
    guests.control.patch("/vms/420", json={"config": {"name": "$(touch /x);`id`\nevil"}}).raise_for_status()
    guest = GuestVm(guests, 420)
    guest.power("start")
    guest.wait_up()
    assert guest.read("/etc/hostname") == "touchxidevil\n"
    assert "cannot access '/x'" in guest.sh("ls -d /x")


def test_a_key_with_line_breaks_is_several_keys(guests: Pve) -> None:
    keys = quote("ssh-ed25519 AAAA one\r\n\n  ssh-ed25519 BBBB two\n", safe="")
    guests.clone(421)
    guests.control.patch("/vms/421", json={"config": {"sshkeys": keys}}).raise_for_status()
    guest = GuestVm(guests, 421)
    guest.power("start")
    guest.wait_up()
    assert guest.read("/home/debian/.ssh/authorized_keys") == "ssh-ed25519 AAAA one\nssh-ed25519 BBBB two\n"
    assert guest.sh("stat -c '%a %U' /home/debian/.ssh /home/debian/.ssh/authorized_keys") == (
        "700 debian\n600 debian\n"
    )


def test_without_a_cloud_init_drive_nothing_is_set(guests: Pve) -> None:
    guests.clone(422)
    guests.ok("PUT", f"{VM}/422/config", delete="ide2", ciuser="ada")
    guest = GuestVm(guests, 422)
    guest.power("start")
    guest.wait_up()
    assert guest.sh("cloud-init status; ls /home") == "status: disabled\n"
