"""The list of differences, and what people read of it."""

from __future__ import annotations

import re
from pathlib import Path

from conformance.eureka.differences import BY_CASE, DIFFERENCES, as_rows

_HERE = Path(__file__).parent
_DOCS = _HERE.parent.parent / "docs" / "differences.md"


def test_people_read_the_same_list() -> None:
    """`python -m conformance.eureka.differences` prints the rows."""
    _, eureka = _DOCS.read_text().split("\n## Eureka\n")
    section = eureka.split("\n## ")[0]

    assert [line for line in section.splitlines() if re.match(r"\| \d", line)] == as_rows()


def test_each_difference_is_asked() -> None:
    """What is listed and never asked may have stopped being true."""
    sources = "".join(file.read_text() for file in _HERE.glob("test_8_*.py"))
    asked = {int(case) for case in re.findall(r"expected\(\s*(\d+)", sources)}

    assert asked == BY_CASE.keys()


def test_cases_stand_in_order_and_once() -> None:
    cases = [difference.case for difference in DIFFERENCES]

    assert cases == sorted(set(cases))
