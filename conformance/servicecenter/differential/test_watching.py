"""Watchers of ours and of the original are told the same while the same providers change. Beside a real server only."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from conformance.conftest import seeds
from conformance.servicecenter.differential.comparing import Pair
from conformance.servicecenter.differential.test_differential import AT_ONCE
from conformance.servicecenter.differential.watching import compared, trace

TRACES = 60


@pytest.mark.timeout(0)
def test_watchers_are_told_the_same(
    request: pytest.FixtureRequest, pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = next(seeds(request.config))
    texts = [f"{seed}/watch/{number}" for number in range(TRACES)]
    began_s = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as executor:
        results = list(executor.map(lambda text: compared(pair, trace(text)), texts))
    # Alone: what was only late is no difference.
    again = [(text, compared(pair, trace(text))) for text, told in zip(texts, results, strict=True) if told.difference]
    differences = [f"trace {text}\n{told.difference}" for text, told in again if told.difference]
    operations, events = sum(told.operations for told in results), sum(told.events for told in results)
    with capsys.disabled():
        took_s = time.monotonic() - began_s
        print(
            f"\nseed {seed}: {operations} operations watched, {events} events,"
            f" {len(differences)} differences, {took_s:.0f} s"
        )
    if differences:
        pytest.fail("\n\n".join(differences), pytrace=False)
