"""The page of clients, made of small reports of our own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

from conformance.clients.table import page

Report = Callable[..., Path]


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """`report(case, …)` writes a junit report as pytest does."""
    written = iter(range(9))

    def write(*cases: str) -> Path:
        path = tmp_path / f"{next(written)}.xml"
        path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
        return path

    return write


def case(tried: str, inside: str = "", **told: str) -> str:
    stated = {"name": "a client", "version": "1.0", "tried": tried, **told}
    properties = "".join(f"<property name={quoteattr(key)} value={quoteattr(one)}/>" for key, one in stated.items())
    return f"<testcase name='test'><properties>{properties}</properties>{inside}</testcase>"


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| a client")]


def test_a_row_tells_both_runs(report: Report) -> None:
    ours = report(case("Registers", transport="HTTP"))
    real = report(case("Registers", "<failure message='no'/>", transport="HTTP"))

    assert rows(page(ours, real)) == ["| a client | 1.0 | HTTP | Registers | yes | **no** |"]


def test_what_one_run_lacks_was_not_run(report: Report) -> None:
    ours = report(case("Leaves", "<skipped message='no such tool'/>", transport="HTTP"))

    assert rows(page(ours, report())) == ["| a client | 1.0 | HTTP | Leaves | not run: no such tool | not run |"]
    assert rows(page(report(), ours)) == ["| a client | 1.0 | HTTP | Leaves | not run | not run: no such tool |"]


def test_words_of_a_green_test_stand_instead_of_yes(report: Report) -> None:
    ours = report(case("Watches", access="on", noted="refused: a | b"))

    assert rows(page(ours, ours)) == ["| a client | 1.0 | on | Watches | refused: a \\| b | refused: a \\| b |"]


def test_a_client_keeps_the_order_of_its_tests(report: Report) -> None:
    both = report(*(case(tried, access="off") for tried in ("Starts", "Ends", "Again")))

    assert [line.split(" | ")[3] for line in rows(page(both, both))] == ["Starts", "Ends", "Again"]


def test_the_protocols_have_tables_of_their_own(report: Report) -> None:
    both = report(case("Asks", access="off"), case("Asks", transport="HTTP"))

    eureka, servicecenter = page(both, both).split("## ServiceCenter's clients")
    assert (len(rows(eureka)), len(rows(servicecenter))) == (1, 1)


def test_other_tests_are_not_told_of(report: Report) -> None:
    both = report("<testcase name='test_the_table_itself'/>")

    assert rows(page(both, both)) == []
