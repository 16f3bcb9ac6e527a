"""The page of the counts: what it says, and that it does not depend on the order of the tests."""

from pathlib import Path

from tests.faults.tally import BEGIN, END, Result, tables, write

RESULTS = [
    Result("crash", "build", "before", "1 GET /a"),
    Result("crash", "build", "after", "2 POST /b", lost="a volume is too much", known="it is hard"),
    Result("fault", "start", "403", "1 GET /a", code="node_permission"),
    Result("fault", "start", "595", "1 GET /a"),
    Result("fault", "start", "595", "2 POST /b", code="node_unavailable"),
    Result("fault", "build", "595", "2 POST /b", code="node_unavailable"),
]


def test_each_outcome_is_counted_in_its_row() -> None:
    text = tables(RESULTS)
    assert "| build | before | 1 | 1 | 0 |" in text
    assert "| build | after | 1 | 0 | 1 |" in text
    assert "| start | 595 | 2 | 1 | 1 `node_unavailable` | 0 |" in text
    assert "| **all** | 4 | 1 | 1 `node_permission`, 2 `node_unavailable` | 0 |" in text
    assert "| build | after | `2 POST /b` | it is hard |" in text


def test_the_page_is_the_same_in_whatever_order_the_tests_ran(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    write(RESULTS, page)
    first = page.read_text()
    write(reversed(RESULTS), page)
    assert page.read_text() == first
    assert first.startswith(f"above\n{BEGIN}\n\n### Workers killed\n")
    assert first.endswith(f"{END}\nbelow\n")
    assert "old" not in first
