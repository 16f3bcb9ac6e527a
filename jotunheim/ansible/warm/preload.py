"""What the parent has loaded, and which of Ansible's settings a child reads again.

Modules, and what Ansible parses for every run though it is a part of Ansible: the routing of its own collection, and
the options of its own plugins. All of it is as the installed files have it. What depends on a run is not touched.
"""

import contextlib
import gc
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from jotunheim.ansible.warm import PER_RUN
from jotunheim.drivers import only

# What runs of our playbooks import, besides what importing these imports. Names that are gone are passed over.
_MODULES = (
    "ansible.cli.playbook",
    "ansible.executor.playbook_executor",
    "ansible.executor.task_queue_manager",
    "ansible.executor.process.worker",
    "ansible.plugins.strategy.linear",
    "ansible.plugins.action.assert",
    "ansible.plugins.action.debug",
    "ansible.plugins.action.fail",
    "ansible.plugins.action.set_fact",
    "ansible.plugins.action.validate_argument_spec",
    "ansible.plugins.become.sudo",
    "ansible.plugins.cache.jsonfile",
    "ansible.plugins.cache.memory",
    "ansible.plugins.connection.local",
    "ansible.plugins.connection.ssh",
    "ansible.plugins.filter.core",
    "ansible.plugins.filter.encryption",
    "ansible.plugins.filter.mathstuff",
    "ansible.plugins.filter.urls",
    "ansible.plugins.filter.urlsplit",
    "ansible.plugins.inventory.auto",
    "ansible.plugins.inventory.host_list",
    "ansible.plugins.inventory.ini",
    "ansible.plugins.inventory.script",
    "ansible.plugins.inventory.yaml",
    "ansible.plugins.lookup.env",
    "ansible.plugins.shell.sh",
    "ansible.plugins.test.core",
    "ansible.plugins.test.files",
    "ansible.plugins.test.mathstuff",
    "ansible.plugins.test.uri",
    "ansible.utils.plugin_docs",
    "cryptography.hazmat.primitives.ciphers.aead",
    "jotunheim.bounded",
    "jotunheim.ansible.launcher",
    "jotunheim.repositories.peewee.journal",
    "jotunheim.repositories.peewee.secrets",
    "jotunheim.repositories.proxmox",
    "passlib.hash",
    "proxmoxer.backends.https",
)

# Callbacks are named: `all` would load the ones of the service and of ansible-runner, which read a run's environment.
_CALLBACKS = ("default", "junit", "minimal", "oneline", "tree")
_CHILDREN_S_CALLBACKS = ("awx_display", "jotunheim_events", "jotunheim_silent")


def load(drivers: Sequence[str]) -> None:
    """Load everything, with these drivers of `jotunheim.drivers` for the store."""
    gc.disable()  # all of it stays
    with only(drivers):
        for name in (*_MODULES, *drivers):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    _load_ansible()
    gc.enable()
    # Children share the memory of what is loaded as long as nobody writes to it.
    gc.collect()
    gc.freeze()


def _load_ansible() -> None:
    from ansible import constants
    from ansible.plugins import loader
    from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

    loader.init_plugin_loader([])
    importlib.import_module("ansible_collections.ansible.builtin")
    used = (loader.become_loader, loader.cache_loader, loader.connection_loader, loader.inventory_loader)
    for plugins in (*used, loader.shell_loader, loader.vars_loader):
        list(plugins.all(class_only=True))
    for name in _CALLBACKS:
        loader.callback_loader.get(name, class_only=True)
    # Of those that must not be loaded here, Ansible at least knows the options already: they are the default's.
    options = constants.config.get_configuration_definitions("callback", "default")
    for name in _CHILDREN_S_CALLBACKS:
        constants.config.initialize_plugin_configuration_definitions("callback", name, options)
    # Each child finds its plugins itself: beside its playbook before those of Ansible.
    for plugins in (*used, loader.shell_loader, loader.vars_loader, loader.callback_loader):
        plugins._clear_caches()
    _AnsibleCollectionFinder._remove()


def loaded_files() -> list[str]:
    """The files of all modules that are loaded."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    return sorted(file for file in files if file)


def configure() -> None:
    """In a child: read those settings of Ansible again that are a run's own."""
    from ansible import constants
    from ansible.config.manager import find_ini_config_file
    from ansible.utils.display import Display

    config = constants.config
    config._parsers.clear()
    config._get_ini_config_value.cache_clear()
    config._config_file = find_ini_config_file(config.WARNINGS)
    if config._config_file:
        config._parse_config_file()
    constants.set_constant("CONFIG_FILE", config._config_file)
    for name, definition in config.get_configuration_definitions().items():
        if _is_per_run(definition):
            constants.set_constant(name, config.get_config_value(name, variables=vars(constants)))
    Display()._set_column_width()


def _is_per_run(definition: dict[str, Any]) -> bool:
    variables = {entry["name"] for entry in definition.get("env") or ()}
    return not PER_RUN.isdisjoint(variables) or "ANSIBLE_HOME" in str(definition.get("default"))
