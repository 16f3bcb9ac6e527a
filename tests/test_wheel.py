"""The wheel is whole: in an empty environment, outside of the checkout, it builds a server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment in which nothing is installed but the wheel, its sandbox extra and what they need."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(CHECKOUT),
    ]
    _run(build, folder)
    [wheel] = folder.glob("*.whl")
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], folder)
    python = str(folder / "venv" / "bin" / "python")
    # Only what is imported gets compiled: by the demo.
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-compile", "--quiet"]
    constraints = ["--disable-pip-version-check", "--constraint", str(CHECKOUT / "constraints.txt")]
    _run([*install, *constraints, f"{wheel}[sandbox]"], folder)
    return folder


def _run(command: list[str], folder: Path, **environment: str) -> str:
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
    }
    clean |= {"HOME": str(folder), **environment}
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_demo_runs_from_the_wheel(environment: Path) -> None:
    jotunheim = str(environment / "venv" / "bin" / "jotunheim")
    shown = _run([jotunheim, "demo", "--state-dir", str(environment / "demo")], environment)
    assert re.search(r"^status +ready$", shown, re.MULTILINE)
    assert re.search(r"^status +running$", shown, re.MULTILINE)
    assert "changed=0 failed=0" in shown
    assert "ansible-playbook" in shown
    assert str(CHECKOUT) not in shown


def test_the_plugins_are_documented(environment: Path) -> None:
    [collections] = (environment / "venv").glob("lib/python*/site-packages/jotunheim/collections")
    ansible_doc = str(environment / "venv" / "bin" / "ansible-doc")
    plugins = ("vm_info", "vm_clone", "vm_config", "vm_disk", "vm_cloudinit", "vm_network", "vm_power")
    names = [f"jotunheim.pve.{plugin}" for plugin in plugins]
    shown = _run([ansible_doc, *names], environment, ANSIBLE_COLLECTIONS_PATH=str(collections))
    for name in names:
        assert name.upper() in shown.upper()
