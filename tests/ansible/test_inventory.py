"""Inventories: every text in them is inert, whoever chose it."""

from enum import StrEnum

import yaml

from jotunheim.ansible.inventory import SecretReference, render

HOSTILE = "{{ lookup('pipe', 'id') }}"


class _Loader(yaml.SafeLoader):
    """Reads `!unsafe` as a pair, so that a test can see the tag."""


_Loader.add_constructor("!unsafe", lambda loader, node: ("inert", loader.construct_scalar(node)))


class _Colour(StrEnum):
    RED = HOSTILE


def _read(text: str) -> object:
    return yaml.load(text, Loader=_Loader)


def test_every_string_is_inert_however_deep_it_stands() -> None:
    variables = {"a": HOSTILE, "b": [HOSTILE, {"c": HOSTILE}], "d": _Colour.RED, "e": "plain", "f": "1"}
    host = _read(render({"web-1": variables}))["servers"]["hosts"]["web-1"]
    inert = ("inert", HOSTILE)
    assert host == {
        "a": inert,
        "b": [inert, {"c": inert}],
        "d": inert,
        "e": ("inert", "plain"),
        "f": ("inert", "1"),
    }


def test_numbers_booleans_and_null_keep_their_types() -> None:
    host = _read(render({"web-1": {"a": 1, "b": True, "c": None, "d": 1.5}}))["servers"]["hosts"]["web-1"]
    assert host == {"a": 1, "b": True, "c": None, "d": 1.5}


def test_secrets_stand_there_by_reference() -> None:
    text = render({"web-1": {"token": SecretReference("node/3/token")}})
    assert text.splitlines()[-1].strip() == "token: \"{{ lookup('jotunheim.pve.secret', 'node/3/token') }}\""


def test_line_breaks_and_quotes_come_back_unchanged() -> None:
    awkward = 'it\'s\n"quoted"\t\\ {% raw %} ☃ '
    host = _read(render({"web-1": {"a": awkward}}))["servers"]["hosts"]["web-1"]
    assert host == {"a": ("inert", awkward)}
