"""What is printed for people and for programs."""

import json

import pytest
from rich.console import Console

from jotunheim.cli import output, tables


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("web-1", "web-1"),
        ("Grüße, 東京", "Grüße, 東京"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("safe\u202eexe.txt", "safe\\u202eexe.txt"),
        ("\u009b31m", "\\x9b31m"),
        ("\ud800", "\\ud800"),
        ("[red]not markup[/red] :smile:", "[red]not markup[/red] :smile:"),
    ],
)
def test_control_characters_are_written_out_and_all_else_stays(text: str, shown: str) -> None:
    assert output.visible(text) == shown


def test_table_takes_markup_and_control_characters_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"name": "[bold red]x[/] \x1b]0;title\x07"}]
    output.print_rows("things", rows, {"name": lambda row: row["name"]}, as_json=False)
    assert capsys.readouterr().out == "NAME\n[bold red]x[/] \\x1b]0;title\\x07\n"


def test_piped_tables_keep_one_line_a_row_without_trailing_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"name": "x" * 300, "note": ""}, {"name": "y", "note": ""}]
    columns: output.Columns = {"name": lambda row: row["name"], "note": lambda row: row["note"]}
    output.print_rows("things", rows, columns, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ["x" * 300, "y"]


def test_an_empty_list_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_rows("address_pools", [], {"name": lambda row: row["name"]}, as_json=False)
    assert capsys.readouterr().out == "There are no address pools yet.\n"


def test_json_is_one_line_of_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"name": "Grüße\n\x1b"})
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert printed.count("\n") == 1
    assert json.loads(printed) == {"name": "Grüße\n\x1b"}


def test_console_reads_no_markup() -> None:
    made = tables.console()
    assert isinstance(made, Console)
    with made.capture() as capture:
        made.print("[red]x[/red]")
    assert capture.get() == "[red]x[/red]\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, None), (0, "0 B"), (1000, "1000 B"), (2**20, "1 MiB"), (3 * 2**29, "1536 MiB"), (2**40, "1 TiB")],
)
def test_sizes_use_the_largest_unit_that_keeps_them_whole(value: int | None, shown: str | None) -> None:
    assert output.size(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(0.42, "0.4 s"), (65, "1:05"), (7384, "2:03:04")])
def test_durations(value: float, shown: str) -> None:
    assert output.seconds(value) == shown
