"""Values of options."""

import io
from pathlib import Path

import pytest
import typer

from jotunheim.cli import options
from tests.cli.conftest import Terminal


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2**31), ("512M", 2**29), ("1.5g", 3 * 2**29), ("1048576", 2**20), (" 4 KiB ", 4096)],
)
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    assert options.parse_size(text) == size


@pytest.mark.parametrize("text", ["2GB", "-1", "", "1.0001K", "GiB", "1e9"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        options.parse_size(text)


def test_labels_keep_what_follows_the_first_equals_sign() -> None:
    assert options.parse_pairs("--label", ["env=ci", "query=a=b", "empty="]) == {
        "env": "ci",
        "query": "a=b",
        "empty": "",
    }


@pytest.mark.parametrize("texts", [["env"], ["=ci"], ["env=a", "env=b"]])
def test_bad_labels_are_refused(texts: list[str]) -> None:
    with pytest.raises(typer.BadParameter):
        options.parse_pairs("--label", texts)


def test_keys_come_as_text_or_from_a_file_with_comments(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# mine\nssh-ed25519 AAAA me\n\nssh-rsa BBBB\n")
    assert options.parse_ssh_keys(["ssh-rsa CCCC", f"@{file}"]) == [
        "ssh-rsa CCCC",
        "ssh-ed25519 AAAA me",
        "ssh-rsa BBBB",
    ]


def test_a_missing_key_file_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="cannot be read"):
        options.parse_ssh_keys([f"@{tmp_path / 'none'}"])


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604_800), (" 2 W ", 1_209_600)]
)
def test_durations_have_a_unit(text: str, seconds: int) -> None:
    assert options.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["90", "", "1.5h", "-1h", "h", "1y", "1h30m", "\u0661h", "9" * 5000 + "s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        options.parse_duration(text)


def test_a_limit_is_a_number_a_size_or_unlimited() -> None:
    assert options.parse_limit("--x", "3") == 3
    assert options.parse_limit("--x", "unlimited", options.parse_size) is None
    assert options.parse_limit("--x", "1K", options.parse_size) == 1024
    for text, parse in (("many", int), ("fast", options.parse_size)):
        with pytest.raises(typer.BadParameter, match="unlimited"):
            options.parse_limit("--x", text, parse)


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(typer.BadParameter):
        options.confirm("Delete it?", "--yes")


@pytest.mark.parametrize(("answer", "agreed"), [("y\n", True), ("Yes\n", True), ("\n", False), ("", False)])
def test_only_a_yes_is_a_yes(monkeypatch: pytest.MonkeyPatch, answer: str, agreed: bool) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert options.confirm("Delete it?", "--yes") is agreed
