"""Writes inventories. Every text in them is inert, except references to secrets.

Ansible templates plain strings: `{{ lookup('pipe', …) }}` as a server's name would run. So every string that
could hold a template is written with the tag `!unsafe`, whoever chose it; only a `SecretReference` becomes a
template, and that one is ours. Strings without a brace cannot hold one and are quoted: behind `!unsafe` Ansible
would take `yes`, `1.10` or `null` for what YAML 1.1 calls them, quotes or not.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

GROUP = "servers"
"""The group that the playbooks run on."""
RESERVED_NAMES = frozenset({GROUP, "all", "ungrouped", "localhost", "127.0.0.1", "::1"})
"""Names that mean something else to Ansible than a host."""


@dataclass(frozen=True)
class SecretReference:
    """The name of a secret, in the place of its value."""

    name: str

    def template(self) -> str:
        """The lookup that reads the value at the last moment."""
        return "{{ lookup('jotunheim.pve.secret', '%s') }}" % self.name  # noqa: UP031 - braces read better


_REFERENCE = re.compile(re.escape(SecretReference("NAME").template()).replace("NAME", "(.+)"))


class _Dumper(yaml.SafeDumper):
    """Dumps strings as inert, and secret references as lookups."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Write repeated values out: people read these files."""
        return True


def _inert(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    # All of Jinja's marks begin with a brace, and nothing with a brace is a number, date or word of YAML.
    tag = "!unsafe" if "{" in value else "tag:yaml.org,2002:str"
    return dumper.represent_scalar(tag, value, style="'")


def _reference(dumper: yaml.SafeDumper, value: SecretReference) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value.template(), style='"')


_Dumper.add_representer(str, _inert)
_Dumper.add_multi_representer(str, _inert)  # enumerations and other kinds of str
_Dumper.add_representer(SecretReference, _reference)


class _Key(str):
    """A host's or variable's name, as the key of a mapping."""

    __slots__ = ()


_Dumper.add_representer(
    _Key, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", str(value))
)


def render(hosts: Mapping[str, Mapping[str, Any]]) -> str:
    """A YAML inventory of the group `servers`.

    Args:
        hosts: variables by host. Values are JSON-like; a `SecretReference` stands for a secret.
    """
    tree = {GROUP: {"hosts": {name: dict(variables) for name, variables in hosts.items()}}}
    return yaml.dump(_with_plain_keys(tree), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


class _Loader(yaml.SafeLoader):
    """Reads back what `_Dumper` wrote, without the inert texts that could be taken for templates."""


_Loader.add_constructor("!unsafe", lambda loader, node: None)  # noqa: ARG005 - PyYAML's signature


def references(rendered: str) -> list[str]:
    """The names of the secrets that an inventory of `render` refers to, sorted."""
    # S506: a subclass of SafeLoader, which makes nothing but plain values.
    texts = _texts(yaml.load(rendered, Loader=_Loader))  # noqa: S506
    return sorted({match[1] for text in texts if (match := _REFERENCE.fullmatch(text))})


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from _texts(item)
        case list():
            for item in value:
                yield from _texts(item)


def _with_plain_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_Key(key): _with_plain_keys(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_plain_keys(item) for item in value]
    return value
