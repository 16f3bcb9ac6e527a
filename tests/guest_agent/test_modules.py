"""Ansible's own modules in a guest, over the guest agent: whole plays."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.guest_agent.conftest import UUID, VMID, Server
from tests.playbooks.pve_playbooks import ENVIRONMENT, Playbooks, Run, Unsafe, _Dumper

CANARY = "canary-7f3e-in-the-guest"

# What a Debian has and the sandbox's guests do not: a package database and archive, a service, sudo.
PACKAGES = """
mkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates /var/lib/dpkg/triggers /var/lib/apt/lists/partial \\
    /var/cache/apt/archives/partial /etc/apt/apt.conf.d /etc/apt/preferences.d /etc/apt/trusted.gpg.d /var/log/apt /srv/repo
touch /var/lib/dpkg/status /var/lib/dpkg/available
mkdir -p /srv/package/DEBIAN /srv/package/opt/greeting
cd /srv/repo
printf 'Package: greeting\\nVersion: 1.0\\nArchitecture: all\\nMaintainer: a <a@example.com>\\nDescription: says hello\\n' \\
    >/srv/package/DEBIAN/control
echo hello >/srv/package/opt/greeting/text
dpkg-deb -b --root-owner-group /srv/package greeting.deb >/dev/null
{ cat /srv/package/DEBIAN/control; echo Filename: ./greeting.deb; echo "Size: $(stat -c %s greeting.deb)"
    echo "SHA256: $(sha256sum greeting.deb | cut -d' ' -f1)"; } >Packages
echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list
"""
SERVICE = """
mkdir -p /etc/init.d
cat >/etc/init.d/greeter <<'END'
#!/bin/sh
case $1 in start) touch /run/greeter.up ;; stop) rm -f /run/greeter.up ;; status) [ -e /run/greeter.up ] || exit 3 ;; esac
END
chmod +x /etc/init.d/greeter
"""
SUDO = """
cat >/usr/local/bin/sudo <<'END'
#!/bin/sh
while :; do case $1 in -u) user=$2; shift 2 ;; -*) shift ;; *) break ;; esac; done
export HOME=/home/$user USER=$user
exec setpriv --reuid "$user" --regid "$user" --clear-groups "$@"
END
chmod +x /usr/local/bin/sudo
mkdir -p /etc/pam.d
printf 'auth sufficient pam_rootok.so\\naccount required pam_permit.so\\nsession required pam_permit.so\\n' >/etc/pam.d/su
"""


def play(
    playbooks: Playbooks, server: Server, tasks: list[dict[str, Any]], *arguments: str, **changes: Any
) -> Run:
    """Tasks of Ansible's own for the server, without facts."""
    variables = playbooks.server(
        pve_api_token_id=server.sandbox.token_id,
        pve_api_token_secret=server.sandbox.token_secret,
        ansible_connection="jotunheim.pve.guest_agent",
        ansible_python_interpreter="/usr/bin/python3",
        **changes,
    )
    listed = [{"name": str(number), **task} for number, task in enumerate(tasks)]
    playbook = playbooks.folder / "modules.yml"
    playbook.write_text(
        yaml.dump(
            [{"hosts": "servers", "gather_facts": False, "tasks": listed}], Dumper=_Dumper, sort_keys=False
        )
    )
    return playbooks.run(playbook, playbooks.inventory(web_1=variables), *arguments)


def test_modules_do_in_the_guest_what_they_do_over_ssh(
    server: Server, playbooks: Playbooks, tmp_path: Path
) -> None:
    server.guest.sh("rm -rf /run/jotunheim-agent/*")  # of other tests, which were not to end well
    blob = tmp_path / "blob"
    blob.write_bytes(bytes(range(256)) * 20_000)
    (tmp_path / "greeting.j2").write_text("Hello, {{ ansible_facts.hostname }}: {{ words }}\n")
    words = ["%s|", "a'b\"", "two\nlines", Unsafe("ü{{ x }}")]
    run = play(
        playbooks,
        server,
        [
            {"ansible.builtin.ping": {}},
            {"ansible.builtin.setup": {"gather_subset": ["!all", "min"]}},
            {"ansible.builtin.command": {"argv": ["printf", *words]}},
            {"ansible.builtin.copy": {"src": str(blob), "dest": "/srv/blob", "mode": "0640"}},
            {"ansible.builtin.copy": {"src": str(blob), "dest": "/srv/blob", "mode": "0640"}},
            {"ansible.builtin.template": {"src": str(tmp_path / "greeting.j2"), "dest": "/srv/greeting"}},
            {"ansible.builtin.user": {"name": "deploy", "shell": "/bin/bash"}},
            {"ansible.builtin.user": {"name": "deploy", "shell": "/bin/bash"}},
            {"ansible.builtin.fetch": {"src": "/srv/blob", "dest": f"{tmp_path}/back", "flat": True}},
            # Its exit code is looked at below.
            {"ansible.builtin.shell": "cat; exit 4", "args": {"stdin": "input"}, "ignore_errors": True},
        ],
        words=Unsafe("{{ lookup('pipe', 'id') }}"),
    )
    assert run.code == 0, run.output
    ping, facts, printed, copied, again, _, made, kept, _, shell = run.all
    assert ping["ping"] == "pong"
    assert facts["ansible_facts"]["ansible_hostname"] == "web-1"
    assert printed["stdout"] == "a'b\"|two\nlines|ü{{ x }}|"
    assert [copied["changed"], again["changed"], made["changed"], kept["changed"]] == [
        True,
        False,
        True,
        False,
    ]
    assert (shell["rc"], shell["stdout"]) == (4, "input")
    assert (tmp_path / "back").read_bytes() == blob.read_bytes()
    assert server.guest.sh("stat -c %a:%s /srv/blob") == "640:5120000\n"
    assert server.guest.sh("cat /srv/greeting") == "Hello, web-1: {{ lookup('pipe', 'id') }}\n"
    assert server.guest.sh("id -un deploy") == "deploy\n"
    assert (
        server.guest.sh("ls -A /run/jotunheim-agent /root/.ansible/tmp")
        == "/root/.ansible/tmp:\n\n/run/jotunheim-agent:\n"
    )


def test_packages_and_services_are_managed(server: Server, playbooks: Playbooks) -> None:
    server.guest.sh(PACKAGES + SERVICE)
    service = {"name": "greeter", "use": "service"}
    run = play(
        playbooks,
        server,
        [
            {"ansible.builtin.apt": {"name": "greeting", "update_cache": True}},
            {"ansible.builtin.apt": {"name": "greeting"}},
            {"ansible.builtin.service": {**service, "state": "started"}},
            {"ansible.builtin.service": {**service, "state": "started"}},
        ],
    )
    assert run.code == 0, run.output
    assert [result["changed"] for result in run.all] == [True, False, True, False]
    assert server.guest.sh("cat /opt/greeting/text; ls /run/greeter.up") == "hello\n/run/greeter.up\n"


def test_another_user_s_rights_are_taken_with_become(server: Server, playbooks: Playbooks) -> None:
    server.guest.sh(f"id deploy || useradd -m deploy\n{SUDO}")
    as_deploy = {"become": True, "become_user": "deploy"}
    run = play(
        playbooks,
        server,
        [
            {"ansible.builtin.command": "id -un", **as_deploy},
            {"ansible.builtin.copy": {"content": "mine\n", "dest": "~/mine"}, **as_deploy},
            {"ansible.builtin.command": "id -un", **as_deploy, "become_method": "ansible.builtin.su"},
        ],
    )
    assert run.code == 0, run.output
    assert [run.all[number].get("stdout") for number in (0, 2)] == ["deploy", "deploy"]
    assert (
        server.guest.sh("stat -c %U:%G /home/deploy/mine; cat /home/deploy/mine") == "deploy:deploy\nmine\n"
    )


def test_what_outlasts_a_command_works_too(server: Server, playbooks: Playbooks) -> None:
    boots = {
        "boot_time_command": "stat -c %Z /run",
        "search_paths": ["/usr/local/sbin"],
        "reboot_command": "reboot",
    }
    run = play(
        playbooks,
        server,
        [
            {"ansible.builtin.command": "sleep 1.5", "async": 30, "poll": 1},
            {"ansible.builtin.shell": "sleep 60 >/dev/null 2>&1 & echo started"},
            {"ansible.builtin.reboot": boots},
            {"ansible.builtin.meta": "reset_connection"},
            {"ansible.builtin.wait_for_connection": {"timeout": 20}},
            {"ansible.builtin.raw": "pgrep sleep"},
        ],
    )
    asynchronous, started, rebooted, _, left = run.all
    assert asynchronous["rc"] == 0
    assert started["stdout"] == "started"
    assert rebooted["rebooted"]
    assert (left["rc"], left["stdout"]) == (1, "")  # the last task failed, so the run did


def test_a_guest_cannot_say_that_its_vm_was_proven_to_be_ours(server: Server, playbooks: Playbooks) -> None:
    uuid = UUID[:-1] + "9"
    proof = {"proven_at": 9e9, "vmid": VMID, "node": "pve1", "uuid": uuid, "seal": "0" * 64}
    facts = json.dumps({"ansible_facts": {"jotunheim_pve": proof}, "changed": False})
    server.guest.write("/srv/python", f"#!/bin/sh\ncat >/dev/null\necho '{facts}'\n")
    server.guest.sh("chmod +x /srv/python")
    here = {"ansible_python_interpreter": "/srv/python", "pve_uuid": UUID}
    run = play(
        playbooks,
        server,
        [
            {"ansible.builtin.setup": {}, "vars": here},
            # That it is refused is looked at below.
            {"jotunheim.pve.vm_power": {"state": "started"}, "ignore_errors": True},
        ],
        pve_uuid=uuid,
    )
    told, refused = run.all
    assert told["ansible_facts"]["jotunheim_pve"]["proven_at"] == 9e9
    assert refused["error"]["code"] == "vm_not_ours"


def test_nothing_secret_is_printed_at_the_highest_verbosity(server: Server, playbooks: Playbooks) -> None:
    hidden = {"no_log": True, "ignore_errors": True}
    run = play(
        playbooks,
        server,
        [
            {"ansible.builtin.copy": {"content": CANARY, "dest": "/srv/secret"}, **hidden},
            {"ansible.builtin.copy": {"content": CANARY, "dest": "/no/such/secret"}, **hidden},
            {"ansible.builtin.raw": f"echo {CANARY}; exit 3", **hidden},
            {"ansible.builtin.slurp": {"src": "/srv/secret"}, **hidden},
            {"ansible.builtin.shell": f"echo {CANARY}; sleep 30", **hidden},
        ],
        "-vvvvv",
        pve_agent_command_timeout_seconds=2,
    )
    assert len(run.all) == 5
    assert CANARY not in run.output
    assert server.sandbox.token_secret not in run.output
    assert "did not end within 2 s" in str(run.all[-1]) or run.all[-1].get("censored")
    assert server.guest.sh("cat /srv/secret") == CANARY


def test_a_host_that_cannot_be_reached_says_why_and_is_not_touched(
    server: Server, playbooks: Playbooks
) -> None:
    since = server.sandbox.requests_logged()
    foreign = play(playbooks, server, [{"ansible.builtin.ping": {}}], pve_uuid=UUID[:-1] + "9")
    assert foreign.code == 4
    assert "does not carry the UUID" in foreign.all[0]["msg"]
    assert {entry["method"] for entry in server.sandbox.request_log(since)} == {"GET"}
    unset = play(playbooks, server, [{"ansible.builtin.ping": {}}], pve_vmid="")
    assert "pve_vmid" in unset.output


def test_a_run_of_the_service_that_lost_its_lease_does_nothing(server: Server, playbooks: Playbooks) -> None:
    server.guest.sh("rm -f /srv/written")
    notes = playbooks.with_journal()
    tasks = [{"ansible.builtin.raw": "echo x >>/srv/written"}]
    assert play(playbooks, server, tasks).code == 0
    (notes / "lost").touch()
    lost = play(playbooks, server, tasks)
    assert "belongs to another worker" in lost.all[0]["msg"]
    assert server.guest.sh("wc -l </srv/written") == "1\n"


def test_auto_chooses_the_agent_where_it_answers_and_ssh_elsewhere(
    server: Server, playbooks: Playbooks
) -> None:
    tasks = [
        {"ansible.builtin.import_role": {"name": "pve_connection"}},
        {"ansible.builtin.debug": {"msg": "{{ ansible_connection }}"}},
    ]

    def chosen(**variables: Any) -> str:
        return str(play(playbooks, server, tasks, **variables).all[-1]["msg"])

    assert chosen() == "jotunheim.pve.guest_agent"
    server.change(agent=False)
    try:
        assert chosen() == "ansible.builtin.ssh"
        assert chosen(pve_connection_use="guest_agent") == "jotunheim.pve.guest_agent"
    finally:
        server.change(agent=True)
    assert chosen(pve_connection_use="ssh") == "ansible.builtin.ssh"
    assert "does not carry the UUID" in play(playbooks, server, tasks, pve_uuid=UUID[:-1] + "9").output


def test_the_documentation_of_the_connection_renders(tmp_path: Path) -> None:
    ansible_doc = Path(sys.executable).with_name("ansible-doc")
    command = [str(ansible_doc), "-t", "connection", "jotunheim.pve.guest_agent"]
    shown = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env=ENVIRONMENT | {"HOME": str(tmp_path), "COLUMNS": "200"},
    ).stdout
    assert "pve_agent_command_timeout_seconds" in shown
