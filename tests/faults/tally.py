"""Counts what the matrices tried, and writes docs/reliability.md when the whole of them ran.

A pytest plugin: results come together from all processes of a run.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- counted by `make faults`: begin -->", "<!-- counted by `make faults`: end -->"


@dataclass(frozen=True)
class Result:
    """What became of one case.

    Attributes:
        matrix: `crash` or `fault`.
        case: of `cases.CASES`.
        met: the moment or the trouble.
        request: the request that met it, with its number.
        code: of the error that the job failed with, before it was tried again; None: it succeeded by itself.
        lost: what was not as it should be; empty: nothing.
        known: why that is not mended; None: it is to be mended.
    """

    matrix: str
    case: str
    met: str
    request: str
    code: str | None = None
    lost: str = ""
    known: str | None = None


RESULTS = pytest.StashKey[list[Result]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option of `make faults`."""
    parser.addoption("--faults", action="store_true", help="the whole crash and fault matrices")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    config.stash[RESULTS] = []


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what another process counted."""
    counted = getattr(node, "workeroutput", {}).get("faults", [])
    node.config.stash[RESULTS] += [Result(**result) for result in counted]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over what this process counted, when it is one of several."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = [asdict(result) for result in session.config.stash[RESULTS]]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say the counts; write the page when it is whole."""
    results = config.stash[RESULTS]
    if not results:
        return
    whole = config.getoption("--faults") and _is_whole(results)
    lost = sum(bool(result.lost) for result in results)
    terminalreporter.section("faults")
    for matrix in ("crash", "fault"):
        tried = [result for result in results if result.matrix == matrix]
        failed = Counter(result.code for result in tried if result.code)
        codes = ", ".join(f"{code} {count}" for code, count in sorted(failed.items()))
        terminalreporter.line(f"{matrix} matrix: {len(tried)} tried; failed first: {codes or 'none'}")
    terminalreporter.line(
        f"lost: {lost}" + ("" if whole else "; a part of the matrices, docs are not written")
    )
    if whole:
        write(results)


def write(results: Iterable[Result], page: Path = PAGE) -> None:
    """Put the tables into the page, between its two marks."""
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{tables(list(results))}\n{END}{after}")


def tables(results: list[Result]) -> str:
    """The counts as Markdown, the same for the same results in whatever order they came."""
    from tests.faults.cases import CASES
    from tests.faults.plan import MOMENTS
    from tests.faults.troubles import TROUBLES

    order = {case.name: number for number, case in enumerate(CASES)}
    columns = {trouble.name: number for number, trouble in enumerate(TROUBLES)}
    crashes = [result for result in results if result.matrix == "crash"]
    faults = [result for result in results if result.matrix == "fault"]
    lines = ["### Workers killed", "", "| job | killed | tried | survived | lost |", "|---|---|---|---|---|"]
    for case in sorted({result.case for result in crashes}, key=order.__getitem__):
        for moment in MOMENTS:
            of = [result for result in crashes if (result.case, result.met) == (case, moment)]
            if of:
                lost = sum(bool(result.lost) for result in of)
                lines.append(f"| {case} | {moment} | {len(of)} | {len(of) - lost} | {lost} |")
    lines.append(_sum(crashes))
    heads = "| tried | succeeded by itself | failed, finished by a retry | lost |"
    for title, key, places in (("job", "case", order), ("trouble", "met", columns)):
        lines += ["", f"### Faults, by {title}", "", f"| {title} {heads}", "|---|---|---|---|---|"]
        for name in sorted({getattr(result, key) for result in faults}, key=places.__getitem__):
            lines.append(_fault_row(name, [result for result in faults if getattr(result, key) == name]))
        lines.append(_fault_row("**all**", faults))
    lines += ["", "### Each job and fault", "", "| job | fault " + heads, "|---|---|---|---|---|---|"]
    for case in sorted({result.case for result in faults}, key=order.__getitem__):
        for met in sorted({r.met for r in faults if r.case == case}, key=columns.__getitem__):
            of = [result for result in faults if (result.case, result.met) == (case, met)]
            lines.append(_fault_row(f"{case} | {met}", of))
    lines += ["", *_not_mended(results)]
    return "\n".join(lines) + "\n"


def _sum(results: list[Result]) -> str:
    lost = sum(bool(result.lost) for result in results)
    return f"| **all** | | {len(results)} | {len(results) - lost} | {lost} |"


def _fault_row(head: str, results: list[Result]) -> str:
    kept = [result for result in results if not result.lost]
    alone = sum(result.code is None for result in kept)
    codes = Counter(result.code for result in kept if result.code)
    failed = ", ".join(f"{count} `{code}`" for code, count in sorted(codes.items(), key=str)) or "0"
    return f"| {head} | {len(results)} | {alone} | {failed} | {len(results) - len(kept)} |"


def _not_mended(results: list[Result]) -> list[str]:
    known = sorted({(r.case, r.met, r.request, r.known) for r in results if r.lost and r.known})
    if not known:
        return ["Nothing was lost."] if not any(result.lost for result in results) else []
    lines = ["### Lost, and why", "", "| job | met | request | why |", "|---|---|---|---|"]
    return lines + [f"| {case} | {met} | `{request}` | {why} |" for case, met, request, why in known]


def _is_whole(results: list[Result]) -> bool:
    from tests.faults.plan import whole_plan

    crashes, faults = whole_plan()
    ran = {(result.matrix, result.case, result.met) for result in results}
    wanted = {("crash", case.name, moment) for case, moment in crashes}
    wanted |= {("fault", case.name, trouble.name) for case, trouble in faults}
    # A job without a request that can meet a trouble leaves no result.
    cases = {case for _, case, _ in wanted}
    return {case for _, case, _ in ran} == cases and {met for *_, met in ran} == {met for *_, met in wanted}
