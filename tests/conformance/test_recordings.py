"""The recorded conversations with a real PVE 8.4, replayed against a sandbox process.

`check.py` compares; `README.md` says how. Scenarios whose outcome depends on how long a copy takes run at
a slower clock, beside the others; those that need a guest run in a sandbox that has some.
"""

import datetime
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.guests import guests_problem, require_guests
from tests.support.sandbox import Sandbox

HERE = Path(__file__).parent
WITH_GUESTS = {"04b_guest_agent", "22_guest_exec_files"}
"""They run programs and write files in a guest."""
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


def replay(folder: Path, names: list[str], time_scale: float, guests: str = "none") -> dict[str, Any]:
    """The results of `check.py` by scenario, from a sandbox of its own."""
    folder.mkdir()
    with Sandbox.start(folder, time_scale=time_scale, guests=guests) as sandbox:
        config = folder / "check.json"
        config.write_text(
            json.dumps(
                {
                    "tokenid": sandbox.ready["token_id"],
                    "tokenvalue": sandbox.ready["token_secret"],
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
def replays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[dict[str, Any]]]]:
    """All replays, running beside each other, by scenario. Those with guests only where there can be some."""
    folder = tmp_path_factory.mktemp("conformance")
    plain = [name for name in SCENARIOS if name not in WITH_GUESTS]
    timed = [name for name in plain if name in TIMED]
    quick = [name for name in plain if name not in TIMED]
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(replay, folder / "timed", timed, 0.1)
        rest = pool.submit(replay, folder / "quick", quick, 0.02)
        running = dict.fromkeys(timed, slow) | dict.fromkeys(quick, rest)
        if not guests_problem():
            running |= {
                name: pool.submit(replay, folder / name, [name], 0.05, "process") for name in WITH_GUESTS
            }
        yield running


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in WITH_GUESTS])
def test_the_sandbox_answers_as_pve_did(name: str, replays: dict[str, Future[dict[str, Any]]]) -> None:
    assert replays[name].result()[name]["diffs"] == []


@pytest.mark.parametrize("name", sorted(WITH_GUESTS))
def test_the_sandbox_with_guests_answers_as_pve_did(
    name: str, replays: dict[str, Future[dict[str, Any]]]
) -> None:
    require_guests()
    assert replays[name].result()[name]["diffs"] == []
