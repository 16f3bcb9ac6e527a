"""The connection variables: which node, which VM, which token. Read from variables, never from arguments.

Arguments of a task are printed in events, logs and artefacts; variables are not.
"""

from __future__ import annotations

import uuid as uuid_module
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from jotunheim.exceptions.model import DataValidationError, FieldProblem
from jotunheim.repositories.proxmox import Endpoint, TlsPolicy

_DEFAULTS: dict[str, Any] = {
    "pve_api_port": 8006,
    "pve_api_ca_pem": None,
    "pve_api_fingerprint": None,
    "pve_api_connect_timeout_seconds": 5,
    "pve_api_read_timeout_seconds": 30,
    "pve_identified": False,
}
_TYPES: dict[str, Callable[[Any], Any]] = {
    "pve_api_host": str,
    "pve_api_port": int,
    "pve_api_token_id": str,
    "pve_api_token_secret": str,
    "pve_api_ca_pem": str,
    "pve_api_fingerprint": str,
    "pve_api_connect_timeout_seconds": float,
    "pve_api_read_timeout_seconds": float,
    "pve_node": str,
    "pve_vmid": int,
    "pve_uuid": lambda value: str(uuid_module.UUID(str(value))),
    "pve_identified": boolean,
}
VARIABLES = tuple(_TYPES)


@dataclass(frozen=True)
class Target:
    """One VM on one node, and the way there.

    Attributes:
        uuid: our server's UUID, lower case: the VM must carry it.
        identified: as its SMBIOS UUID; a mark in its notes is not enough.
    """

    endpoint: Endpoint
    node: str
    vmid: int
    uuid: str
    identified: bool = False


def read_target(values: dict[str, Any]) -> Target:
    """The target from the (templated) variables that are defined.

    Raises:
        DataValidationError: variables are missing or of a wrong type; all of them are named.
        ProxmoxCertificateError, ProxmoxUnauthorizedError: fingerprint or token id is malformed.
    """
    problems = []
    read: dict[str, Any] = {}
    for name, convert in _TYPES.items():
        value = values.get(name)
        if value is None or value == "":
            value = _DEFAULTS.get(name)
            if name not in _DEFAULTS:
                problems.append(FieldProblem(name, "is not set for this host"))
        try:
            read[name] = None if value is None else convert(value)
        except (TypeError, ValueError):
            problems.append(FieldProblem(name, "has a value of the wrong type"))
    if problems:
        raise DataValidationError(problems)
    endpoint = Endpoint(
        host=read["pve_api_host"],
        port=read["pve_api_port"],
        token_id=read["pve_api_token_id"],
        token_secret=read["pve_api_token_secret"],
        tls=TlsPolicy(ca_pem=read["pve_api_ca_pem"], fingerprint=read["pve_api_fingerprint"]),
        connect_timeout_seconds=read["pve_api_connect_timeout_seconds"],
        read_timeout_seconds=read["pve_api_read_timeout_seconds"],
    )
    return Target(endpoint, read["pve_node"], read["pve_vmid"], read["pve_uuid"], read["pve_identified"])
