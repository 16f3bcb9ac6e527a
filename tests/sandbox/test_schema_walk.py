"""Every write of PVE's API schema, in turn: modelled or refused, and no value breaks the sandbox."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from jotunheim.sandbox import pve84
from jotunheim.sandbox.api import HANDLERS
from tests.sandbox.requests import VM, Pve

WRITES = sorted(
    (template, method)
    for template, methods in pve84.load().paths.items()
    for method in methods
    if method in ("POST", "PUT", "DELETE") and not template.endswith("/upload")
)
"""All but the upload of a file, which is no form: see test_hostile_http."""
MODELLED = [write for write in WRITES if (write[1], write[0]) in HANDLERS]
NOT_MODELLED = [write for write in WRITES if write not in MODELLED]

IN_PATHS = {
    "node": "pve1",
    "vmid": "777",
    "storage": "vmstore",
    "snapname": "none",
    "volume": "vmstore:777/vm-777-disk-0.qcow2",
    "upid": "UPID:pve1:00000001:00000001:5F000000:qmstart:777:root@pam:",
    "userid": "admin@pve",
    "pos": "0",
    "cidr": "10.0.0.1",
}
"""Values for the parameters in a path. There is no VM 777 unless a test makes it."""

VALUES = {
    "pve-node": "pve1",
    "pve-vmid": 777,
    "pve-storage-id": "vmstore",
    "pve-userid": "admin@pve",
    "pve-configid": "some",
    "dns-name": "some",
    "mac-addr": "BC:24:11:00:00:01",
    "CIDR": "10.0.0.0/24",
    "ip": "10.0.0.1",
    "email": "a@example.org",
}
"""Values that the formats of required parameters allow."""


def path_of(template: str) -> str:
    """The template with its parameters filled in."""
    return re.sub(r"\{([^}]+)\}", lambda found: IN_PATHS.get(found[1], "some"), template)


def required(template: str, method: str) -> dict[str, Any]:
    """A value for each parameter that must be there and does not stand in the path."""
    properties: Mapping[str, Any] = pve84.load().paths[template][method]["parameters"].get("properties", {})
    names = [n for n, spec in properties.items() if not spec.get("optional") and f"{{{n}}}" not in template]
    return {name: _value(properties[name]) for name in names}


def _value(spec: Mapping[str, Any]) -> Any:
    if "enum" in spec:
        return spec["enum"][0]
    if isinstance(spec.get("format"), str) and spec["format"].removesuffix("-list") in VALUES:
        return VALUES[spec["format"].removesuffix("-list")]
    match spec.get("type"):
        case "integer" | "number":
            return spec.get("minimum", 1)
        case "boolean":
            return 1
    return "some-text"


def send(root: httpx.Client, method: str, path: str, params: Mapping[str, Any]) -> httpx.Response:
    """The request as JSON, which has types; in the query for a deletion."""
    if method == "DELETE":
        return root.delete(path, params={n: str(v)[:2000] for n, v in params.items()})
    return root.request(method, path, json=params)


def broken(answer: httpx.Response) -> bool:
    """Whether the sandbox itself failed, which no answer of PVE looks like."""
    return "the sandbox broke" in answer.text or "Traceback" in answer.text


@pytest.fixture
def root(pve: Pve) -> Iterator[httpx.Client]:
    """The root user itself: no token may call every method."""
    password = pve.sandbox.ready["password"]
    login = pve.ok("POST", "/access/ticket", username="root@pam", password=password)
    headers = {
        "CSRFPreventionToken": login["CSRFPreventionToken"],
        "Cookie": f"PVEAuthCookie={quote(login['ticket'], safe='')}",
    }
    api = pve.sandbox.api
    with httpx.Client(base_url=api.base_url, transport=api._transport, headers=headers) as client:
        yield client
    tasks = pve.ok("GET", "/nodes/pve1/tasks", source="all", limit=0)
    assert [task for task in tasks if "worker broke" in str(task["status"])] == []


def test_the_schema_is_walked_as_a_whole() -> None:
    assert (len(WRITES) > 300, len(MODELLED) > 60, len(NOT_MODELLED) > 200) == (True, True, True)


def test_a_write_is_modelled_or_refused_and_changes_nothing_then(pve: Pve, root: httpx.Client) -> None:
    def state() -> Any:
        dumped = pve.control.get("/state").json()
        return {name: value for name, value in dumped.items() if name != "tasks"}

    before, answers = state(), {}
    for template, method in NOT_MODELLED:
        answer = send(root, method, path_of(template), required(template, method))
        answers[method, template] = answer.status_code
    assert {key: status for key, status in answers.items() if status not in (400, 501)} == {}
    refused = [key for key, status in answers.items() if status == 501]
    assert len(refused) > 0.8 * len(answers)
    assert state() == before


def test_an_unknown_parameter_is_refused_everywhere(root: httpx.Client) -> None:
    wrong = {}
    for template, method in MODELLED:
        answer = send(root, method, path_of(template), {**required(template, method), "no-such": "1"})
        known = answer.status_code == 400 and "no-such" in answer.json().get("errors", {})
        if not known:
            wrong[method, template] = (answer.status_code, answer.text)
    assert wrong == {}


HOSTILE = {
    "nothing": None,
    "a list in a list": [[["x"]]],
    "an object": {"a": {"b": None}},
    "an empty text": "",
    "a huge number": 10**300,
    "a number with many digits": "9" * 6000,
    "not a number": float("1e400"),
    "control characters": "a\x00b\r\nc\x1b",
    "half a character": "\ud800",
    "a path": "../../../etc/passwd",
    "slashes and colons": "::::////,,,,====",
    "a long text": "x" * 9000,
}
"""Values that no schema expects. Infinity is what some JSON writers make of too large a number."""


@pytest.mark.parametrize("name", HOSTILE)
def test_no_value_of_a_parameter_breaks_the_sandbox(pve: Pve, root: httpx.Client, name: str) -> None:
    pve.clone(777)
    assert pve.task("POST", f"{VM}/777/snapshot", snapname="none") == "OK"
    failed = {}
    for template, method in MODELLED:
        if (template, method) == ("/nodes/{node}/qemu/{vmid}", "DELETE"):
            continue
        properties = pve84.load().paths[template][method]["parameters"].get("properties", {})
        names = [n.replace("[n]", "0") for n in properties if f"{{{n}}}" not in template]
        for sent in (
            dict.fromkeys(names, HOSTILE[name]),
            required(template, method) | {"digest": HOSTILE[name]},
        ):
            if method == "DELETE":
                answer = send(root, method, path_of(template), _printable(sent))
            else:
                body = json.dumps(sent).encode()
                headers = {"Content-Type": "application/json"}
                answer = root.request(method, path_of(template), content=body, headers=headers)
            if broken(answer):
                failed[method, template] = answer.text
    assert failed == {}
    tasks = pve.ok("GET", "/nodes/pve1/tasks", source="all", limit=0)
    assert [task for task in tasks if "worker broke" in str(task["status"])] == []


def _printable(params: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value).encode(errors="replace").decode() for name, value in params.items()}


def test_an_empty_body_breaks_nothing(root: httpx.Client) -> None:
    answers = {write: send(root, write[1], path_of(write[0]), {}) for write in WRITES}
    assert [write for write, answer in answers.items() if broken(answer)] == []
    succeeded = {write for write, answer in answers.items() if answer.is_success}
    assert succeeded <= set(MODELLED)
