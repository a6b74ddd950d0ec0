"""The stages: nodes over one Redis for the module that asks first, and how often things break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.conftest import RanAgainst, skip_without
from conformance.peers.processes import MissingToolError, Processes, Running, facade
from conformance.peers.redis import redis

from .cell import NotAllowedError
from .figures import Report
from .stage import NODES, SETTINGS, Stage, WallClock, start_nodes

_REPORTS = pytest.StashKey[dict[str, Report]]()


@pytest.fixture(scope="session")
def is_full(request: pytest.FixtureRequest) -> bool:
    """Whether each thing breaks as often and as long as the tables of docs/high-availability.md say."""
    return bool(request.config.getoption("--faults") == "full")


@pytest.fixture(scope="session")
def tools() -> Callable[[MissingToolError], None]:
    """`tools(missing)`: without it the test is skipped; but not in CI, which installs what can be installed."""

    def lacking(missing: MissingToolError) -> None:
        if isinstance(missing, NotAllowedError):
            pytest.skip(str(missing))
        skip_without(missing)

    return lacking


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reports = config.stash.get(_REPORTS, {})
    if any(report.lines for report in reports.values()):
        terminalreporter.section("figures of the faults")
    for name, report in reports.items():
        for line in (name, *report.lines) if report.lines else ():
            terminalreporter.line(line if line == name else f"  {line}")


@pytest.fixture
def report(tmp_path: Path, request: pytest.FixtureRequest) -> Report:
    reports = request.config.stash.setdefault(_REPORTS, {})
    return reports.setdefault(request.node.name, Report(tmp_path / "run.jsonl"))


@pytest.fixture(scope="module")
def shared_stage(
    processes: Processes,
    free_port: Callable[[], int],
    tools: Callable[[MissingToolError], None],
    ran_against: RanAgainst,
) -> Iterator[Stage]:
    try:
        server = processes.start(redis(free_port()))
    except MissingToolError as missing:
        tools(missing)
        raise
    ran_against("cluster, faults", "three nodes of ours over a real Redis or Valkey")
    nodes = start_nodes(processes, free_port, [server.url] * NODES)
    yield Stage(nodes, [node.url for node in nodes], server)
    for running in (*nodes, server):
        running.stop()


@pytest.fixture
def stage(shared_stage: Stage, report: Report) -> Stage:
    """Three nodes over one Redis, which the tests of a module have in common: each leaves it whole."""
    shared_stage.report = report
    return shared_stage


@pytest.fixture
def with_wall_clock(
    processes: Processes,
    free_port: Callable[[], int],
    tools: Callable[[MissingToolError], None],
    tmp_path: Path,
    report: Report,
) -> Iterator[Callable[[int], tuple[Stage, WallClock]]]:
    """`with_wall_clock(last)`: three nodes, the last ones of which, so many, have that wall clock."""
    running: list[Running] = []

    def start(last: int) -> tuple[Stage, WallClock]:
        try:
            clock = WallClock(tmp_path / "offset")
        except MissingToolError as missing:
            tools(missing)
            raise
        server = processes.start(redis(free_port()))
        running.append(server)
        for number in range(NODES):
            program = facade([free_port()], SETTINGS, [server.url])
            running.append(processes.start(clock.given_to(program) if number >= NODES - last else program))
        nodes = running[1:]
        return Stage(nodes, [node.url for node in nodes], server, report), clock

    yield start
    for one in reversed(running):
        one.stop()
