"""What the sandbox does not model, it refuses; what is wrong, it refuses in PVE's words."""

import pytest

from jotunheim.sandbox import pve84, unmodelled
from jotunheim.sandbox.api import HANDLERS
from tests.sandbox.requests import VM, Pve


def test_every_handler_is_for_a_method_of_the_schema() -> None:
    paths = pve84.load().paths
    assert [key for key in HANDLERS if key[0] not in paths.get(key[1], {})] == []


def test_a_write_that_is_not_modelled_is_refused_and_logged(pve: Pve) -> None:
    before = pve.control.get("/state").json()
    status, message = pve.message("POST", f"{VM}/9000/monitor", command="info status")
    assert (status, "does not model" in message) == (501, True)
    assert pve.control.get("/requests").json()["requests"][-1]["modelled"] is False
    after = pve.control.get("/state").json()
    assert after == before


def test_a_read_that_is_not_modelled_is_refused(pve: Pve) -> None:
    assert pve.send("GET", "/cluster/ha/resources").status_code == 501


@pytest.mark.parametrize(("method", "path"), [("GET", "/nope"), ("POST", "/version"), ("PUT", "/nodes")])
def test_a_method_that_pve_does_not_have_is_not_implemented(pve: Pve, method: str, path: str) -> None:
    assert pve.message(method, path) == (501, f"Method '{method} {path}' not implemented")


def test_all_bad_parameters_are_named_at_once(pve: Pve) -> None:
    answer = pve.send("PUT", f"{VM}/9000/config", memory="abc", cores=0, nosuch=1)
    assert (answer.status_code, sorted(answer.json()["errors"])) == (400, ["cores", "memory", "nosuch"])


def test_every_refused_parameter_is_one_of_a_modelled_method() -> None:
    paths = pve84.load().paths
    for (method, template), names in unmodelled.PARAMETERS.items():
        assert (method, template) in HANDLERS
        assert set(names) <= set(paths[template][method]["parameters"]["properties"])


@pytest.mark.parametrize(
    ("path", "params", "name"),
    [
        ("/nodes/pve1/vzdump", {"vmid": 9000, "prune-backups": "keep-last=1"}, "prune-backups"),
        (f"{VM}/9000/status/shutdown", {"keepActive": 1}, "keepActive"),
        ("/access/users", {"userid": "keys@pve", "keys": "x"}, "keys"),
    ],
)
def test_a_parameter_that_would_be_ignored_is_refused(
    pve: Pve, path: str, params: dict[str, object], name: str
) -> None:
    before = pve.control.get("/state").json()
    status, message = pve.message("POST", path, **params)
    assert (status, f"'{name}'" in message) == (501, True)
    assert pve.control.get("/requests").json()["requests"][-1]["modelled"] is False
    assert pve.control.get("/state").json() == before


def test_a_guest_that_does_not_exist_runs_nothing(pve: Pve) -> None:
    pve.clone(300)
    assert pve.task("POST", f"{VM}/300/status/start") == "OK"
    assert pve.ok("POST", f"{VM}/300/agent/ping") == {"result": {}}
    assert pve.send("POST", f"{VM}/300/agent/exec", command="/bin/true").status_code == 501
