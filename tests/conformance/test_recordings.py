"""The recorded conversations with a real PVE 8.4, replayed against a sandbox process.

`check.py` compares; `README.md` says how. Scenarios whose outcome depends on how long a copy takes run at
a slower clock, beside the others.
"""

import datetime
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.sandbox import Sandbox

HERE = Path(__file__).parent
NOT_PASSING = {
    "04b_guest_agent": "runs programs and writes files in a guest: needs --guests process",
    "22_guest_exec_files": "runs programs and writes files in a guest: needs --guests process",
}
TIMED = {"04a_clone_config", "19_concurrency"}
SCENARIOS = sorted(file.stem for file in (HERE / "recordings").glob("*.json"))


SUSPENDED_ON = re.compile(r"(?<=-state-suspend-)\d{4}-\d\d-\d\d(?=\.raw)")
"""PVE puts the day into the name of the volume that a suspended VM's memory is written to."""


def recordings_of_today(folder: Path) -> Path:
    """The recordings as if they had been made today."""
    folder.mkdir()
    for file in (HERE / "recordings").glob("*.json"):
        text = SUSPENDED_ON.sub(datetime.datetime.now(datetime.UTC).date().isoformat(), file.read_text())
        (folder / file.name).write_text(text)
    return folder


def replay(folder: Path, names: list[str], time_scale: float) -> dict[str, Any]:
    """The results of `check.py` by scenario, from a sandbox of its own."""
    folder.mkdir()
    with Sandbox.start(folder, time_scale=time_scale) as sandbox:
        config = folder / "check.json"
        config.write_text(
            json.dumps(
                {
                    "tokenid": sandbox.token_id,
                    "tokenvalue": sandbox.token_secret,
                    "password": sandbox.ready["password"],
                    "ca": sandbox.ready["ca_pem_file"],
                }
            )
        )
        only = [part for name in names for part in ("--only", name)]
        done = subprocess.run(
            [
                sys.executable,
                str(HERE / "check.py"),
                sandbox.ready["url"],
                "--config",
                str(config),
                "--dir",
                str(recordings_of_today(folder / "recordings")),
                "--json",
                *only,
            ],
            capture_output=True,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("PVE_")},
            check=False,
        )
    assert done.returncode in (0, 1), done.stderr
    return {result["file"].removesuffix(".json"): result for result in json.loads(done.stdout)["results"]}


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All results that are expected to pass."""
    folder = tmp_path_factory.mktemp("conformance")
    wanted = [name for name in SCENARIOS if name not in NOT_PASSING]
    timed = [name for name in wanted if name in TIMED]
    quick = [name for name in wanted if name not in TIMED]
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(replay, folder / "timed", timed, 0.1)
        rest = pool.submit(replay, folder / "quick", quick, 0.02)
        return slow.result() | rest.result()


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_sandbox_answers_as_pve_did(name: str, results: dict[str, Any]) -> None:
    if name in NOT_PASSING:
        pytest.skip(NOT_PASSING[name])
    assert results[name]["diffs"] == []
