"""What people read of the differences that steps made or would make."""

from typing import Any

import pytest

from jotunheim.cli.differences import print_differences


def shown(capsys: pytest.CaptureFixture[str], check: bool, *diffs: dict[str, Any]) -> list[str]:
    step = {"name": "Configure", "changed": bool(diffs), "diff": list(diffs) or None}
    print_differences({"check": check, "steps": [step]})
    return capsys.readouterr().out.splitlines()


def test_settings_are_listed_with_sizes_and_control_characters_written_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    diff = {
        "before": {"memory_bytes": 2**30, "tags": [], "description": "", "gone": "x"},
        "after": {"memory_bytes": 2**31, "tags": ["blue"], "description": "[b]\x1b[31m"},
    }
    assert shown(capsys, True, diff) == [
        "",
        "What would change:",
        "  Configure",
        "    memory_bytes: 1 GiB → 2 GiB",
        '    tags: [] → ["blue"]',
        "    description: - → [b]\\x1b[31m",
        "    gone: x → -",
    ]


def test_texts_and_prepared_differences_are_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, False, {"before": "", "after": "vm 100"}, {"prepared": "a\nb"})
    assert lines == ["", "What changed:", "  Configure", "    - → vm 100", "    a", "    b"]


def test_no_difference_is_only_worth_saying_of_a_preview(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, True) == ["", "Nothing would change."]
    assert shown(capsys, False) == []
