"""The examples of docs/sandbox.md, run as they stand there."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from jotunheim.sandbox.settings import DURATIONS
from tests.sandbox.requests import Pve

DOCUMENT = Path(__file__).parents[2] / "docs" / "sandbox.md"
BLOCKS = re.findall(r"^```sandbox\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
ABOVE = "<the last state>"


@pytest.fixture
def fresh(pve: Pve) -> Iterator[Pve]:
    """The sandbox in its first state, with the settings of its first state afterwards."""
    yield pve
    pve.control.patch("/settings", json={"time_scale": 0, "durations": DURATIONS}).raise_for_status()


def ask(pve: Pve, line: str, above: Any) -> httpx.Response | None:
    """The answer to a request of an example; None if the connection was cut."""
    whom, method, path, *rest = line.split(" ", 3)
    client = {"pve": pve.sandbox.api, "control": pve.control}[whom]
    body = above if rest == [ABOVE] else json.loads(rest[0]) if rest else None
    try:
        if whom == "pve" and method in ("GET", "DELETE"):
            return client.request(method, path, params=body)
        return client.request(method, path, json=body)
    except httpx.RemoteProtocolError:
        return None


def holds(expected: Any, got: Any) -> bool:
    """Whether an answer has what the example shows of it."""
    if isinstance(expected, dict):
        return isinstance(got, dict) and all(n in got and holds(v, got[n]) for n, v in expected.items())
    if isinstance(expected, list):
        return len(expected) == len(got) and all(map(holds, expected, got))
    return bool(expected == got)


def check(pve: Pve, line: str, answer: httpx.Response | None) -> None:
    """Compare an answer with the line below the request."""
    word, _, rest = line.partition(" ")
    if word == "cut":
        assert answer is None
        return
    assert answer is not None
    if word == "task":
        status = pve.ended(answer.json()["data"])
        assert status.startswith(rest.removesuffix("…")) if rest.endswith("…") else status == rest
        return
    assert answer.status_code == int(word), answer.text
    assert not rest or holds(json.loads(rest), answer.json()), answer.text


@pytest.mark.parametrize("block", BLOCKS)
def test_an_example_of_the_documentation_holds(fresh: Pve, block: str) -> None:
    lines = block.splitlines()
    above: Any = None
    for request, expected in zip(lines[::2], lines[1::2], strict=True):
        answer = ask(fresh, request, above)
        check(fresh, expected, answer)
        above = answer.json() if request == "control GET /state" and answer is not None else above


def test_every_request_of_the_control_endpoint_has_an_example() -> None:
    told = DOCUMENT.read_text().partition("## The control endpoint")[2].partition("### Faults")[0]
    routes = set(re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[a-z]+)", told))
    shown = set(re.findall(r"^control ([A-Z]+) (/[a-z]+)", "\n".join(BLOCKS), re.MULTILINE))
    assert routes - shown <= {("GET", "/vms"), ("GET", "/storages")}
