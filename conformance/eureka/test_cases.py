"""The cases that the protocol's description lists, 1 to 200: each has a test that names it, or a reason why not."""

from __future__ import annotations

import re
from pathlib import Path

_SUITES = Path(__file__).parent, Path(__file__).parent.parent / "clients"
_NAMED = re.compile(r"def test_((?:\d{3}_)+)|case(\d{3})")
"""In the name of a test, or in the id of one of its parameters."""

WITHOUT: dict[int, str] = {}
"""Case to the reason why nobody asks for it."""


def test_each_case_has_a_test_or_a_reason() -> None:
    asked: set[int] = set()
    for file in (file for suite in _SUITES for file in suite.glob("test_*.py")):
        for names, id_ in _NAMED.findall(file.read_text()):
            asked |= {int(number) for number in re.findall(r"\d+", names + id_)}

    missing = sorted(set(range(1, 201)) - asked - WITHOUT.keys())
    assert not missing, f"no test and no reason: {missing}"
    assert asked.isdisjoint(WITHOUT), "a reason for what is asked"
    assert asked <= {0, *range(1, 201)}
