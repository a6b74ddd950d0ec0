"""All 164 cases have a test, named by it (`test_144_…`, `test_034_035_…`) or by the id of a parameter (`case144-…`)."""

from __future__ import annotations

import re
from pathlib import Path

CASES = range(1, 165)
NAMED = re.compile(r"def test((?:_\d{3})+)_|\bcase(\d{3})-")


def asked() -> set[int]:
    texts = [file.read_text() for file in Path(__file__).parent.glob("test_*.py")]
    named = (numbers or number for text in texts for numbers, number in NAMED.findall(text))
    return {int(number) for numbers in named for number in numbers.split("_") if number}


def test_every_case_has_a_test() -> None:
    assert set(CASES) - asked() == set()


def test_no_test_is_of_a_case_that_is_none() -> None:
    assert asked() <= set(CASES)
