"""Inventory plugin: servers of a Jotunheim service as hosts, from its HTTP API or its database."""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.template import trust_as_template
from ansible_collections.jotunheim.pve.plugins.plugin_utils import inventory_hosts
from ansible_collections.jotunheim.pve.plugins.plugin_utils.inventory_api import Access, Api, OptionError

from jotunheim.ansible.inventory import GROUP, RESERVED_NAMES, SecretReference
from jotunheim.exceptions import JotunheimError
from jotunheim.exceptions.model import DataValidationError

DOCUMENTATION = """
name: servers
author:
  - The Jotunheim developers
short_description: Servers of a Jotunheim service as hosts, from its HTTP API or its database
description:
  - Reads servers from the HTTP API, with an operator's token all of them and with an owner's token their own, or from
    the service's database.
  - The file must be called C(jotunheim.yml), or its name must end with C(.jotunheim.yml) (or C(.yaml)).
  - All hosts are in the group C(servers), and in groups by location (C(location_fra1), the short code), node (C(node_pve1)),
    template (C(template_debian_12)), owner (C(owner_7), the user's id), labels (C(label_env_ci)) and status (C(status_ready)).
    All but letters, digits and underscores becomes an underscore. Values that differ in nothing else share a group, with a warning.
    The API shows owners no nodes and no owners.
  - Variables of a host are the fields of the server in the API, with C(jotunheim_) before their names, such as
    C(jotunheim_labels), C(jotunheim_status), C(jotunheim_location), and C(ansible_host), its first address.
  - No text in them is a template, whatever its author typed. No secret is among them.
  - From the database they are also given the variables that Jotunheim's playbooks take (C(pve_*)), as jobs of the service
    give them, with the secret of the node's API token as a reference that is looked up when it is used. From the API, an
    operator's token gives C(pve_node), C(pve_vmid) and C(pve_uuid); how to reach the node can be said in group variables.
options:
  plugin:
    description: The name of this plugin.
    type: str
    required: true
    choices: [jotunheim.pve.servers]
  source:
    description:
      - Where servers are read from.
      - V(database) takes the settings of the service from the environment, as C(JOTUNHEIM_CONFIG), C(JOTUNHEIM_STATE_DIR) or
        C(JOTUNHEIM_DATABASE_URL). It is never cached, since playbooks would carry out what was recorded some time ago.
    type: str
    choices: [api, database]
    default: api
    env:
      - name: JOTUNHEIM_INVENTORY_SOURCE
  url:
    description: Where the API is, without C(/api/v1). Templates are allowed.
    type: str
    default: http://127.0.0.1:8080
    env:
      - name: JOTUNHEIM_URL
  token:
    description:
      - An API token with the scope C(servers:read). Templates and vaulted texts are allowed.
      - Better not written here in clear. Where Ansible cannot read this file, it shows the lines around what it does not understand.
      - In the file, it or O(token_file) wins over both environment variables.
    type: raw
    env:
      - name: JOTUNHEIM_TOKEN
  token_file:
    description: A file that holds nothing but the token. Templates are allowed.
    type: str
    env:
      - name: JOTUNHEIM_TOKEN_FILE
  ca_file:
    description:
      - Certificates (PEM) of the only authorities to trust, by default those of the system. Templates are allowed.
    type: str
    env:
      - name: JOTUNHEIM_CA_FILE
  fingerprint:
    description:
      - SHA-256 of the one certificate to accept, in hexadecimal. Its authority, name and dates are then not looked at.
    type: str
    env:
      - name: JOTUNHEIM_FINGERPRINT
  timeout:
    description: How many seconds may pass until a connection stands, and between two pieces of an answer.
    type: float
    default: 30
  api:
    description:
      - Whether to ask for all servers (V(admin)) or for the token's user's own ones (V(client)).
      - V(auto) asks for all, and if that is refused for one's own, which takes one request more.
    type: str
    choices: [auto, admin, client]
    default: auto
  filters:
    description:
      - Which servers, by the names and values that C(GET /api/v1/admin/servers) takes, or C(/client/servers) for owners; all of
        them must be met exactly, before anything is transferred.
      - They are C(name), C(status), C(power), C(suspended), C(protected), C(template_id), C(label_selector)
        (C(env=ci,tier=web)), and for operators C(owner_id), C(node_id), C(location_id), C(vmid), C(external_id).
    type: dict
    default: {}
  hostnames:
    description:
      - What hosts are called, the first of these that a server has and that can be a host's name.
      - C(name), C(hostname), C(id), C(vmid), C(external_id), C(ipv4), C(ipv6) (its first address), or C(label:KEY).
      - Where several servers have the same, or it is the name of a group, of a host of another source, or C(localhost), they get
        C(_) and their ids behind it. Owners may have servers of one name.
    type: list
    elements: str
    default: [name]
  group_by:
    description: Which groups are made besides C(servers).
    type: list
    elements: str
    choices: [location, node, template, owner, label, status]
    default: [location, node, template, owner, label, status]
extends_documentation_fragment:
  - constructed
  - inventory_cache
"""

EXAMPLES = """
# jotunheim.yml: all that the token in JOTUNHEIM_TOKEN shows, from the service at JOTUNHEIM_URL.
plugin: jotunheim.pve.servers

---
# ci.jotunheim.yml: running servers of CI, asked for at most every five minutes.
plugin: jotunheim.pve.servers
url: https://jotunheim.example.com
token_file: ~/.config/jotunheim/token
ca_file: /etc/ssl/jotunheim-ca.pem
filters:
  power: running
  label_selector: env=ci
hostnames: [hostname, name]
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/jotunheim-inventory
cache_timeout: 300
compose:
  ansible_user: jotunheim_labels.user | default('debian')
groups:
  large: jotunheim_memory_bytes >= 16 * 1024 ** 3
keyed_groups:
  - key: jotunheim_tags
    prefix: tag

---
# jotunheim.yml on the service's machine: everything that the playbooks need.
plugin: jotunheim.pve.servers
source: database
"""

_TEMPLATED = ("url", "token", "token_file", "ca_file", "fingerprint")
_FORMAT = 1
"""Of what is cached; anything else is not used."""
_IDENTITY = {"pve_vmid": "vmid", "pve_uuid": "id"}


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):  # type: ignore[misc]  # ansible publishes no types
    """`plugin: jotunheim.pve.servers`."""

    NAME = "jotunheim.pve.servers"

    def verify_file(self, path: str) -> bool:
        """Whether the file's name is one of ours."""
        name = Path(path).name
        ours = ("jotunheim.yml", "jotunheim.yaml")
        return bool(super().verify_file(path)) and (
            name in ours or name.endswith(tuple(f".{one}" for one in ours))
        )

    def parse(self, inventory: InventoryData, loader: DataLoader, path: str, cache: bool = True) -> None:
        """Add hosts, groups and variables.

        Raises:
            AnsibleParserError: naming the option that is to blame. It holds no secret.
        """
        super().parse(inventory, loader, path, cache)
        config = self._read_config_data(path)
        try:
            self._check_options()
            with _uncollected():
                if self.get_option("source") == "database":
                    servers, variables = self._from_database()
                else:
                    servers = self._from_api(config, path, cache)
                    variables = [_identity(server) for server in servers]
                self._populate(servers, variables)
        except OptionError as error:
            raise AnsibleParserError(str(error)) from None

    def _check_options(self) -> None:
        known = inventory_hosts.HOSTNAMES
        for preference in self.get_option("hostnames"):
            if preference not in known and not preference.startswith(inventory_hosts.LABEL):
                raise OptionError(
                    "hostnames", f"must be of {', '.join(known)} or label:KEY, not {preference}."
                )

    def _from_api(self, config: Mapping[str, Any], path: str, cache: bool) -> list[dict[str, Any]]:
        access = self._access(config)
        api, filters = Api(access), self._filters()
        key = f"{self.get_cache_key(path)}_{_digest(access, self.get_option('api'), filters)}"
        is_cached = bool(self.get_option("cache"))
        if is_cached and cache:
            kept = self._cache.get(key)
            if isinstance(kept, Mapping) and kept.get("format") == _FORMAT:
                return list(kept["servers"])
        if api.is_readable_by_others:
            self.display.warning(f"{access.url} has no TLS: others on the way can read the token.")
        servers = api.servers(self.get_option("api"), filters)
        if is_cached:
            self._cache[key] = {"format": _FORMAT, "servers": servers}
        return servers

    def _from_database(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        # Imported late: who asks the API needs no database.
        from jotunheim.ansible import estate

        filters = self._filters()
        try:
            recorded = estate.read(filters)
        except DataValidationError as error:
            problem = error.problems[0]
            option = "filters" if problem.field in {*filters, "label_selector"} else "source"
            raise OptionError(option, f"{problem.field}: {problem.message}") from None
        except JotunheimError as error:
            raise OptionError("source", f"{error.message} {error.hint or ''}".strip()) from None
        return [each.shown for each in recorded], [_with_lookups(each.variables) for each in recorded]

    def _access(self, config: Mapping[str, Any]) -> Access:
        given = {name: self._text(name) for name in _TEMPLATED}
        if given["ca_file"]:
            given["ca_file"] = str(Path(given["ca_file"]).expanduser())
        return Access(
            url=given["url"] or "",
            token=self._token(given, config),
            ca_file=given["ca_file"],
            fingerprint=given["fingerprint"],
            timeout_seconds=self.get_option("timeout"),
        )

    def _token(self, given: Mapping[str, str | None], config: Mapping[str, Any]) -> str:
        here = [name for name in ("token", "token_file") if config.get(name)]
        if len(here) > 1:
            raise OptionError("token_file", "is given beside token. Give one of them.")
        wanted = here or [name for name in ("token", "token_file") if given[name]]
        if not wanted or not given[wanted[0]]:
            raise OptionError("token", "is not set. Set JOTUNHEIM_TOKEN, or token_file in this file.")
        if wanted[0] == "token":
            return str(given["token"]).strip()
        file = Path(str(given["token_file"])).expanduser()
        try:
            token = file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise OptionError("token_file", f"{file} cannot be read: {reason}.") from None
        if not token:
            raise OptionError("token_file", f"{file} is empty.")
        return token

    def _text(self, option: str) -> str | None:
        """An option's value, templated; None: it is not set, or empty."""
        try:
            text = self.templar.template(self.get_option(option))
        except Exception:  # noqa: BLE001 - its text may repeat what was decrypted or looked up
            raise OptionError(option, "its template or vaulted text cannot be used.") from None
        if not isinstance(text, str | None):
            raise OptionError(option, "must be a text.")
        return (text or "").strip() or None

    def _filters(self) -> dict[str, str]:
        found = {}
        for name, value in self.get_option("filters").items():
            if isinstance(value, bool):
                found[str(name)] = str(value).lower()
            elif isinstance(value, str | int) and "\0" not in str(value):
                found[str(name)] = str(value)
            else:
                raise OptionError("filters", f"{name} must be a text, a number, true or false.")
        reserved = found.keys() & {"page", "per_page", "sort"}
        if reserved:
            raise OptionError("filters", f"{', '.join(sorted(reserved))}: not of a filter.")
        return found

    def _populate(self, servers: Sequence[Mapping[str, Any]], variables: Sequence[Mapping[str, Any]]) -> None:
        names = inventory_hosts.host_names(servers, self.get_option("hostnames"), self._taken())
        hosts, said = inventory_hosts.grouped(servers, names, self.get_option("group_by"))
        self.inventory.add_group(GROUP)
        by_name = self.inventory.hosts
        for name, server, more in zip(names, servers, variables, strict=True):
            self.inventory.add_host(name, group=GROUP)
            # Not with `set_variable`, which looks through each value for what might be a template: that takes several times as
            # long as all else. Names and values are ours, and none is marked as a template but references to secrets.
            by_name[name].vars.update({**inventory_hosts.facts(server), **more})
        for kind, members in hosts.items():
            group = self.inventory.groups[self.inventory.add_group(kind)]
            for name in members:
                group.add_host(by_name[name])
        ambiguous = inventory_hosts.ambiguous(said)
        if ambiguous:
            self.display.warning(f"Groups that stand for several things: {'; '.join(ambiguous[:5])}.")
        self._construct(names)

    def _construct(self, names: Sequence[str]) -> None:
        strict = self.get_option("strict")
        compose, groups, keyed = (self.get_option(name) for name in ("compose", "groups", "keyed_groups"))
        if not (compose or groups or keyed):
            return
        for name in names:
            host = self.inventory.hosts[name]
            self._set_composite_vars(compose, host.get_vars(), name, strict=strict)
            self._add_host_to_composed_groups(
                groups, host.get_vars(), name, strict=strict, fetch_hostvars=False
            )
            self._add_host_to_keyed_groups(keyed, host.get_vars(), name, strict=strict, fetch_hostvars=False)

    def _taken(self) -> dict[str, str | None]:
        groups = {*self.inventory.groups, *map(self._sanitize_group_name, self.get_option("groups"))}
        others = {name: host.vars.get("jotunheim_id") for name, host in self.inventory.hosts.items()}
        return {**others, **dict.fromkeys({*RESERVED_NAMES, *groups})}


@contextmanager
def _uncollected() -> Iterator[None]:
    """Within it no garbage is looked for: nearly all that is made stays, and to look through it takes a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _identity(server: Mapping[str, Any]) -> dict[str, Any]:
    """Which VM the playbooks are about, as far as the API says; owners are not told."""
    if "node" not in server:
        return {}
    return {"pve_node": server["node"]["name"]} | {name: server[field] for name, field in _IDENTITY.items()}


def _with_lookups(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Variables in which references to secrets are lookups: the only templates in them."""
    return {
        name: trust_as_template(value.template()) if isinstance(value, SecretReference) else value
        for name, value in variables.items()
    }


def _digest(access: Access, module: str, filters: Mapping[str, str]) -> str:
    """What one answer is cached under: not what another token was shown. Tokens are random, none is found by its digest."""
    said = json.dumps([access.url, access.token, module, sorted(filters.items())])
    return hashlib.sha256(said.encode()).hexdigest()[:24]
