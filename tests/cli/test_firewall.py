"""Firewalls by the command line, against the real service."""

import pytest

from jotunheim.cli.firewall_rules import parse_rules, rule_text
from tests.cli.conftest import Ran, Run
from tests.cli.test_servers import fresh_name
from tests.support.sandbox import Sandbox
from tests.support.service import Service

WAIT = ("--wait", "--timeout", "60")


@pytest.fixture(scope="module")
def server(service: Service) -> dict[str, object]:
    """A server for the tests of this module."""
    return service.built(fresh_name(), start=False)


def done(ran: Ran) -> Ran:
    assert ran.status == 0, ran.out + ran.err
    return ran


def test_rules_are_added_shown_previewed_and_removed(
    against: Run, service: Service, sandbox: Sandbox, server: dict[str, object]
) -> None:
    name, vmid = str(server["name"]), int(str(server["vmid"]))
    added = done(
        against("firewall", "allow", name, "22", "--from", "10.0.0.0/8", "--comment", "office", *WAIT)
    )
    assert f"The firewall is off: jotunheim firewall set {name} --enable" in added.out
    done(against("firewall", "set", name, "--enable", "--policy-in", "drop", *WAIT))
    preview = done(against("firewall", "deny", name, "--from", "10.6.6.6", "--reject", "--check", *WAIT))
    assert "in REJECT source 10.6.6.6" in preview.out
    assert len(sandbox.firewall(vmid)["rules"]) == 1
    plan = preview.out.rsplit("--plan ", 1)[1].split()[0]
    denied = done(
        against("firewall", "deny", name, "--from", "10.6.6.6", "--reject", "--plan", plan, *WAIT, "--json")
    )
    assert denied.document["job"]["plan"] == plan
    assert [rule["action"] for rule in sandbox.firewall(vmid)["rules"]] == ["REJECT", "ACCEPT"]
    assert sandbox.firewall(vmid)["options"]["policy_in"] == "DROP"
    shown = against("firewall", "show", name).out
    assert "in reject from 10.6.6.6" in shown
    assert "in accept tcp 22 from 10.0.0.0/8" in shown
    assert "office" in shown

    assert against("firewall", "remove", name, "3").status == 2
    done(against("firewall", "remove", name, "1", *WAIT))
    assert [rule["action"] for rule in sandbox.firewall(vmid)["rules"]] == ["ACCEPT"]
    wrong = against("firewall", "allow", name, "80", "--protocol", "icmp", "--from", "nonsense")
    assert wrong.status == 1
    assert "  PORTS: " in wrong.err
    assert "  --from: " in wrong.err


def test_rulesets_are_made_applied_brought_again_and_deleted_when_nobody_uses_them(
    against: Run, sandbox: Sandbox, server: dict[str, object]
) -> None:
    name, vmid = str(server["name"]), int(str(server["vmid"]))
    done(against("ruleset", "add", "monitoring", "--rule", "in accept tcp 9100 # node exporter"))
    assert "in accept tcp 9100" in done(against("ruleset", "show", "monitoring")).out
    done(against("firewall", "set", name, "--enable", "--no-rules", "--ruleset", "monitoring", *WAIT))
    assert [rule["comment"] for rule in sandbox.firewall(vmid)["rules"]] == ["node exporter"]
    refused = against("ruleset", "delete", "monitoring")
    assert refused.status == 1
    assert f"  servers: {name}" in refused.err

    changed = done(against("ruleset", "change", "monitoring", "--rule", "in accept SNMP from 10.0.0.1 off"))
    assert f"Servers without its present rules: {name}." in changed.out
    assert "monitoring" in against("firewall", "show", name).out.split("outdated")[1]
    assert "1 previews: " in done(against("ruleset", "apply", "monitoring", "--check", *WAIT)).out
    applied = done(against("ruleset", "apply", "monitoring", *WAIT, "--json")).document
    assert [job["status"] for job in applied["jobs"]] == ["succeeded"]
    [rule] = sandbox.firewall(vmid)["rules"]
    assert (rule["macro"], rule["enable"]) == ("SNMP", 0)
    assert "0 jobs: none." in done(against("ruleset", "apply", "monitoring", "--wait")).out

    done(against("firewall", "set", name, "--no-rulesets", *WAIT))
    done(against("ruleset", "delete", "monitoring"))
    assert against("ruleset", "list", "--name", "monit", "--json").document == {"firewall_rulesets": []}


@pytest.mark.parametrize(
    "text",
    [
        "in accept",
        "out drop tcp",
        "in accept tcp 80,443 from 10.0.0.0/8 port 1024:65535 to 10.1.1.1",
        "in reject HTTPS from fd00::/8",
        "out accept from any port 53 to 10.0.0.1",
    ],
)
def test_a_rule_is_shown_as_it_is_typed(text: str) -> None:
    absent = dict.fromkeys(("macro", "protocol", "source", "destination", "source_port", "destination_port"))
    [rule] = parse_rules("--rule", [text])
    assert rule_text({**absent, **rule}) == text


@pytest.mark.parametrize(
    "text", ["", "in", "forward accept", "in accept tcp 80 from", "in accept tcp 80 443"]
)
def test_what_is_no_rule_is_refused(against: Run, text: str) -> None:
    ran = against("ruleset", "add", "bad", "--rule", text)
    assert ran.status == 2
    assert "is not of the form" in ran.err
