"""Values of options."""

from pathlib import Path

import pytest
import typer

from jotunheim.cli import options


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
