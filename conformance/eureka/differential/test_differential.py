"""The same random operations asked of ours and of the original: their answers are the same but for what is meant.

    pytest conformance/eureka/differential                   about 10 000 operations, the same ones each time
    pytest conformance/eureka/differential --seed 42         those of another seed
    pytest conformance/eureka/differential --minutes 30      other ones, seed after seed for half an hour

A trace that finds something is shrunk and printed. One that is worth keeping becomes a file in traces/.
"""

from __future__ import annotations

import json
import time
from itertools import count
from pathlib import Path

import pytest

from conformance.conftest import seeds
from conformance.eureka.differential.comparing import (
    Answer,
    Finding,
    Run,
    Server,
    a_name,
    are_same,
    first_difference,
    shrunk,
)
from conformance.eureka.differential.conftest import Pair
from conformance.eureka.differential.operations import Operation, trace

OPERATIONS = 10_000
"""To a seed."""
MOST_SHRUNK = 8

KEPT = sorted((Path(__file__).parent / "traces").glob("*.json"))


@pytest.mark.timeout(0)
def test_random_traces(request: pytest.FixtureRequest, pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    minutes: float | None = request.config.getoption("--minutes")
    ends_s = time.monotonic() + 60 * minutes if minutes else None
    total, findings = 0, []
    for seed in seeds(request.config):
        operations, found = _compare_all(pair, seed, ends_s)
        total += operations
        findings += found
        with capsys.disabled():
            print(f"\nseed {seed}: {operations} operations, {len(found)} differences")
        if found or (ends_s is not None and time.monotonic() > ends_s):
            break
    with capsys.disabled():
        print(f"{total} operations, {len(findings)} differences")
    if findings:
        reports = [f"trace {text}\n{_shown(pair, finding)}" for text, finding in findings[:MOST_SHRUNK]]
        pytest.fail("\n\n".join([f"{len(findings)} differences", *reports]), pytrace=False)


def _compare_all(pair: Pair, seed: int, ends_s: float | None) -> tuple[int, list[tuple[str, Finding]]]:
    """How many operations of the seed's traces were compared, and which traces found something."""
    operations, found = 0, []
    for number in count():
        if operations >= OPERATIONS or (ends_s is not None and time.monotonic() > ends_s):
            break
        text = f"{seed}/{number}"
        compared, finding = first_difference(*pair, trace(text))
        operations += compared
        if finding is not None:
            found.append((text, finding))
    return operations, found


def _shown(pair: Pair, finding: Finding) -> str:
    return str(shrunk(*pair, finding))


@pytest.mark.parametrize("file", KEPT, ids=[file.stem for file in KEPT])
def test_kept_traces(tested: Server, file: Path) -> None:
    """Traces that once found something. Their answers are what the original gave, and "anew" what it says of the same
    moment once its cache has forgotten (case 97): that is ours to say, and its own if it took long to be asked."""
    kept = json.loads(file.read_text())
    run = Run(tested, a_name())
    try:
        for step in kept["steps"]:
            operation, real = Operation(**step["operation"]), Answer(**step["answer"])
            anew = Answer(**step.get("anew", step["answer"]))
            answer = run.ask(operation)
            is_right = answer in (real, anew) if tested.is_original else are_same(anew, answer, operation)
            assert is_right, str(Finding([operation], real, answer))
    finally:
        run.end()
