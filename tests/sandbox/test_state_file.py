"""`--state`: what survives a restart."""

import json
import ssl
import stat
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import JOTUNHEIM, end, start


def run_once(file: Path, log: Path, path: str, **form: Any) -> tuple[dict[str, Any], httpx.Response]:
    """Start a sandbox on a state file, send one request, stop it."""
    process = start([JOTUNHEIM, "sandbox", "--time-scale", "0", "--state", str(file)], log)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        context = ssl.create_default_context(cafile=ready["ca_pem_file"])
        headers = {"Authorization": f"PVEAPIToken={ready['token_id']}={ready['token_secret']}"}
        with httpx.Client(base_url=ready["url"] + "/api2/json", verify=context, headers=headers) as client:
            answer = client.post(path, data=form) if form else client.get(path)
    finally:
        end(process, log)
    assert process.returncode == 0, log.read_text()
    return ready, answer


def test_state_credentials_and_certificate_survive_a_restart(tmp_path: Path) -> None:
    file, log = tmp_path / "state.json", tmp_path / "log"
    first, created = run_once(file, log, "/pools", poolid="kept", comment="across restarts")
    second, pools = run_once(file, log, "/pools")
    assert created.status_code == 200
    assert pools.json()["data"] == [{"comment": "across restarts", "poolid": "kept"}]
    for key in ("token_secret", "password", "fingerprint", "ca_pem_file"):
        assert first[key] == second[key]
    assert Path(second["ca_pem_file"]).exists()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_two_sandboxes_have_different_secrets(tmp_path: Path) -> None:
    first, _ = run_once(tmp_path / "a.json", tmp_path / "log", "/version")
    second, _ = run_once(tmp_path / "b.json", tmp_path / "log", "/version")
    assert first["token_secret"] != second["token_secret"]
    assert first["fingerprint"] != second["fingerprint"]
