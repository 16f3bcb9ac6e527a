"""What is documented is what is accepted: plugins, roles, playbooks."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "jotunheim/collections/ansible_collections/jotunheim/pve/plugins"
ACTIONS = sorted(file.stem for file in (PLUGINS / "action").glob("*.py"))
ROLES = sorted(folder.name for folder in (ROOT / "roles").glob("pve_*"))
# Other phases of the same rebuild.
SHARED_VARIABLES = {"pve_rebuild_clean": "pve_rebuild", "pve_rebuild_abandon": "pve_rebuild"}
ROLES_OWN_DEFAULTS = {"pve_power": {"state": "started"}, "pve_info": {"require_owned": True}}


def module(kind: str, name: str) -> Any:
    return importlib.import_module(f"ansible_collections.jotunheim.pve.plugins.{kind}.{name}")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def shape(options: dict[str, Any], sub: str) -> dict[str, Any]:
    """The parts of an option that documentation and specification share."""
    return {
        name: {
            "type": option["type"],
            "elements": option.get("elements"),
            "required": option.get("required", False),
            "default": option.get("default"),
            "choices": option.get("choices"),
            "options": shape(option.get(sub) or {}, sub),
        }
        for name, option in options.items()
    }


@pytest.mark.parametrize("name", ACTIONS)
def test_the_documentation_of_a_plugin_is_its_specification(name: str) -> None:
    documented = yaml.safe_load(module("modules", name).DOCUMENTATION)
    accepted = module("action", name).ActionModule.ARGUMENTS
    assert shape(documented["options"], "suboptions") == shape(accepted, "options")
    assert documented["module"] == name
    assert yaml.safe_load(module("modules", name).EXAMPLES)
    assert yaml.safe_load(module("modules", name).RETURN)


def test_the_action_groups_name_every_plugin() -> None:
    groups = load(PLUGINS.parent / "meta" / "runtime.yml")["action_groups"]
    assert sorted(name for names in groups.values() for name in names) == ACTIONS
    assert all(name.startswith(f"{group}_") for group, names in groups.items() for name in names)


def test_the_connection_variables_are_all_documented() -> None:
    variables = set(module("plugin_utils", "target").VARIABLES)
    for fragment, wanted in (
        ("connection", variables),
        ("template", variables - {"pve_uuid", "pve_identified"}),
    ):
        text = module("doc_fragments", fragment).ModuleDocFragment.DOCUMENTATION
        assert {name for name in variables if f"C({name})" in text} == wanted


@pytest.mark.parametrize("role", ROLES)
def test_a_role_s_variables_are_specified_defaulted_explained_and_used(role: str) -> None:
    folder = ROOT / "roles" / role
    options = load(folder / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = load(folder / "defaults" / "main.yml")
    assert all(name.startswith(f"{SHARED_VARIABLES.get(role, role)}_") for name in options)
    assert {
        name: option.get("default") for name, option in options.items() if not option.get("required")
    } == defaults
    tasks = (folder / "tasks" / "main.yml").read_text()
    readme = (folder / "README.md").read_text()
    assert [name for name in options if f"{{{{ {name} }}}}" not in tasks or f"`{name}`" not in readme] == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_accepts_what_its_plugin_accepts(role: str) -> None:
    options = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    for task in load(ROOT / "roles" / role / "tasks" / "main.yml"):
        ours = [(key, value) for key, value in task.items() if key.startswith("jotunheim.pve.")]
        if not ours:  # hands a result on
            continue
        ((action, given),) = ours
        specified = module("action", action.rpartition(".")[2]).ActionModule.ARGUMENTS
        expected = shape(specified, "options")
        arguments = dict(given)
        if "phase" in expected:  # what a role is for, not a choice of its caller
            assert arguments.pop("phase") in expected.pop("phase")["choices"]
        accepted = {name: options[template.strip("{} ")] for name, template in arguments.items()}
        for name, default in ROLES_OWN_DEFAULTS.get(role, {}).items():
            expected[name] |= {"default": default, "required": False}
        assert shape(accepted, "options") == expected
