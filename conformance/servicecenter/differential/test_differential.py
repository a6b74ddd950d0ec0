"""The same random operations asked of ours and of the original: their answers are the same but for what is meant.

    pytest conformance/servicecenter/differential                   about 10 000 operations, the same ones each time
    pytest conformance/servicecenter/differential --seed 42         those of another seed
    pytest conformance/servicecenter/differential --minutes 30      other ones, seed after seed for half an hour

The original is started where SERVICECENTER_BIN names one, or asked at `--servicecenter URL --servicecenter-kind real`.
Traces run side by side, for most of the time goes by with waiting for it. A trace that finds something is asked again
in peace, then shrunk and printed; `record` makes a file for traces/ of it, where it is worth keeping.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from conformance.conftest import seeds
from conformance.servicecenter.asking import ServiceCenter
from conformance.servicecenter.differential.answering import Answer, Run
from conformance.servicecenter.differential.comparing import (
    Finding,
    Pair,
    Step,
    are_same,
    confirmed,
    first_difference,
    settles_in_s,
    shrunk,
)
from conformance.servicecenter.differential.operations import Operation, trace

OPERATIONS = 10_000
"""To a seed."""
AT_ONCE = 24
MOST_SHRUNK = 8

KEPT = sorted((Path(__file__).parent / "traces").glob("*.json"))


@pytest.mark.timeout(0)
def test_random_traces(request: pytest.FixtureRequest, pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    ends_s = time.monotonic() + 60 * (request.config.getoption("--minutes") or 0)
    total, findings = 0, []
    with ThreadPoolExecutor(AT_ONCE) as executor:
        for seed in seeds(request.config):
            began_s = time.monotonic()
            operations, found = _compare_all(pair, seed, executor)
            total += operations
            findings += found
            with capsys.disabled():
                took_s = time.monotonic() - began_s
                print(f"\nseed {seed}: {operations} operations, {len(found)} differences, {took_s:.0f} s")
            if found or time.monotonic() > ends_s:
                break
        with capsys.disabled():
            print(f"{total} operations, {len(findings)} differences")
        if findings:
            reports = [f"trace {text}\n{shrunk(pair, finding, executor)}" for text, finding in findings[:MOST_SHRUNK]]
            pytest.fail("\n\n".join([f"{len(findings)} differences", *reports]), pytrace=False)


def _compare_all(pair: Pair, seed: int, executor: Executor) -> tuple[int, list[tuple[str, Finding]]]:
    """How many operations of the seed's traces were compared, and which traces found something."""
    texts = list(_texts(seed))
    results = list(zip(texts, executor.map(lambda text: first_difference(pair, trace(text)), texts), strict=True))
    found = []
    for text, (_, finding) in results:
        # Alone: what was only late is no difference.
        if finding is not None and (finding := confirmed(pair, finding)) is not None:
            found.append((text, finding))
    return sum(operations for _, (operations, _) in results), found


def _texts(seed: int) -> Iterator[str]:
    """The names of so many traces as make up OPERATIONS."""
    left = OPERATIONS
    for number in count():
        if left <= 0:
            return
        text = f"{seed}/{number}"
        left -= len(trace(text))
        yield text


@pytest.mark.parametrize("file", KEPT, ids=[file.stem for file in KEPT])
def test_kept_traces(sc: ServiceCenter, file: Path) -> None:
    """Traces that once found something. Their answers are what the original gave."""
    run = Run(sc)
    for step in json.loads(file.read_text())["steps"]:
        operation, real = Operation(**step["operation"]), Answer(**step["answer"])

        def answers_so(operation: Operation = operation, real: Answer = real) -> None:
            answer, known = run.ask(operation)
            is_right = are_same(real, answer, operation, is_live=False)
            assert is_right, str(Finding([Step(operation, real, answer)]))
            run.known = known

        if sc.kind == "real":
            sc.soon(answers_so)
            time.sleep(settles_in_s(operation, real))
        else:
            answers_so()
