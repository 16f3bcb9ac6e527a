"""How long is fuzzed, and with what. A plugin, for options are read before this folder is."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long, and from where."""
    parser.addoption("--fuzz-examples", type=int, default=2, help="requests of each sort for each route")
    parser.addoption("--fuzz-seed", type=int, default=0, help="0: always the same requests")
