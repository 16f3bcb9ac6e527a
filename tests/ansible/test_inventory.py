"""Inventories: every text in them is inert and comes back as it was written, whoever chose it."""

import json
import subprocess
import sys
from enum import StrEnum
from pathlib import Path

import yaml

from jotunheim.ansible.inventory import SecretReference, references, render

HOSTILE = "{{ lookup('pipe', 'id') }}"
# What YAML 1.1 takes for something else than a text.
AMBIGUOUS = [
    *("yes", "no", "on", "null", "~", "", "0x1f", "010", "0b11", "1.10", "1_000", "1:30", "2001-01-01"),
    *("=", "<<", "1e3", ".inf", "2001:1:2:3:4:5:6:7", "!unsafe x", "*a", "&a", "- a", "# a", " a ", "a: b"),
]


class _Loader(yaml.SafeLoader):
    """Reads `!unsafe` as a pair, so that a test can see the tag."""


_Loader.add_constructor("!unsafe", lambda loader, node: ("inert", loader.construct_scalar(node)))


class _Colour(StrEnum):
    RED = HOSTILE


def _read(text: str) -> object:
    return yaml.load(text, Loader=_Loader)


def test_ansible_reads_every_text_as_it_was_written(tmp_path: Path) -> None:
    texts = [*AMBIGUOUS, HOSTILE, "{% if x %}", "{# c #}", "{", 'it\'s {{ 1 }} "x"', "a\nb", "☃"]
    file = tmp_path / "hosts.yml"
    variables = {"texts": texts, "deep": {"list": [{"text": text} for text in texts]}}
    file.write_text(render({"web-1": variables}))
    shown = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(file), "--host", "web-1"],
        capture_output=True,
        text=True,
        check=True,
    )
    host = json.loads(shown.stdout)
    assert [_plain(text) for text in host["texts"]] == texts
    assert [_plain(entry["text"]) for entry in host["deep"]["list"]] == texts


def _plain(shown: object) -> object:
    """A text without the mark with which `ansible-inventory` shows that it is inert."""
    return shown["__ansible_unsafe"] if isinstance(shown, dict) else shown


def test_every_text_that_could_be_a_template_is_inert_however_deep_it_stands() -> None:
    variables = {"a": HOSTILE, "b": [HOSTILE, {"c": HOSTILE}], "d": _Colour.RED, "e": "plain", "f": "1"}
    host = _read(render({"web-1": variables}))["servers"]["hosts"]["web-1"]
    inert = ("inert", HOSTILE)
    assert host == {"a": inert, "b": [inert, {"c": inert}], "d": inert, "e": "plain", "f": "1"}


def test_numbers_booleans_and_null_keep_their_types() -> None:
    host = _read(render({"web-1": {"a": 1, "b": True, "c": None, "d": 1.5}}))["servers"]["hosts"]["web-1"]
    assert host == {"a": 1, "b": True, "c": None, "d": 1.5}


def test_secrets_stand_there_by_reference() -> None:
    text = render({"web-1": {"token": SecretReference("node/3/token")}})
    assert text.splitlines()[-1].strip() == "token: \"{{ lookup('jotunheim.pve.secret', 'node/3/token') }}\""


def test_the_references_of_an_inventory_are_ours_alone() -> None:
    forged = SecretReference("server/2/password").template()
    variables = {
        "token": SecretReference("node/1/token"),
        "deep": [{"password": SecretReference("server/1/password")}, forged],
        "said": f"see {forged}",
    }
    assert references(render({"web-1": variables, "web-2": {"token": SecretReference("node/1/token")}})) == [
        "node/1/token",
        "server/1/password",
    ]
