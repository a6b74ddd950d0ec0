"""The two servers that are compared, and what to compare them with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from conformance.conftest import RanAgainst, StartOurs
from conformance.eureka.differential.comparing import Server
from conformance.peers.processes import MissingToolError, Processes
from conformance.peers.processes import eureka as real_eureka

WINDOW_S = 20
"""For so long a change is told in deltas: longer than any trace takes, and short enough for deltas to stay small."""

Pair = tuple[Server, Server]


@pytest.fixture(scope="session")
def pair(
    eureka_kind: str,
    start_ours: StartOurs,
    processes: Processes,
    free_port: Callable[[], int],
    ran_against: RanAgainst,
) -> Iterator[Pair]:
    """The original, and a server of ours beside it."""
    if eureka_kind == "real":
        pytest.skip("it compares ours with the original")
    try:
        program = real_eureka(free_port(), "conformance")
    except MissingToolError as missing:
        pytest.skip(str(missing))
    window = (
        f"--eureka.server.retention-time-in-m-s-in-delta-queue={WINDOW_S * 1000}",
        "--eureka.server.delta-retention-timer-interval-in-ms=500",
    )
    ran_against("eureka", "ours, a trace at a time beside a real server")
    original = processes.start(replace(program, command=[*program.command, *window], ready="/"))
    ours = start_ours(eureka_delta_window_s=WINDOW_S)
    servers = Server(original.url, is_original=True), Server(ours.url, is_original=False)
    yield servers
    for server in servers:
        server.close()
    ours.stop()
    original.stop()


@pytest.fixture
def tested(eureka_kind: str, eureka_url: str) -> Iterator[Server]:
    """The server under test, for traces whose answers are known."""
    server = Server(eureka_url, is_original=eureka_kind == "real")
    yield server
    server.close()
