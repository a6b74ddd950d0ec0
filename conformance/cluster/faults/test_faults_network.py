"""One of three nodes and its Redis do not hear each other, or only now and then. Its clients go on reaching it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from conformance.backing.proxy import Honest, Proxy
from conformance.conftest import RanAgainst
from conformance.peers.processes import MissingToolError, Processes, facade
from conformance.peers.redis import redis

from .cell import Cell, Direction
from .figures import Report
from .load import Load
from .stage import NODES, SETTINGS, Stage, in_thread, start_nodes, until
from .test_faults_redis import ADMITS_AGE_AFTER_S, all_writable, assert_nobody_registered_anew, writable

CUT = NODES - 1
"""The node that is cut off."""


@pytest.fixture(scope="module")
def cell(tools: Callable[[MissingToolError], None]) -> Iterator[Cell]:
    try:
        with Cell() as cell:
            yield cell
    except MissingToolError as missing:
        tools(missing)


@pytest.fixture(scope="module")
def celled_stage(
    cell: Cell, processes: Processes, free_port: Callable[[], int], ran_against: RanAgainst
) -> Iterator[tuple[Stage, int]]:
    """Two nodes as ever, the third one in a network of its own; and the port of Redis."""
    port = free_port()
    server = processes.start(redis(port, options={"bind": "0.0.0.0", "protected-mode": "no"}))
    ran_against("cluster, faults", "three nodes of ours, one of them in a network namespace of its own")
    nodes = start_nodes(processes, free_port, [server.url] * (NODES - 1))
    own = free_port()
    program = cell.inside(facade([own], SETTINGS, [f"redis://{cell.outside}:{port}"]))
    nodes.append(processes.start(program))
    yield Stage(nodes, [node.url for node in nodes], server), port
    for running in (*nodes, server):
        running.stop()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("direction", ["both", "in", "out"])
def test_a_node_is_cut_off_from_redis(
    celled_stage: tuple[Stage, int], cell: Cell, report: Report, is_full: bool, direction: Direction
) -> None:
    """F10, promise 2: its clients renew there and nowhere else, for longer than their leases last."""
    stage, port = celled_stage
    stage.report = report
    healed_after_s = 0.0
    if direction != "both" and not is_full:
        pytest.skip("in one direction only: --faults full")

    async def story(load: Load) -> None:
        nonlocal healed_after_s
        for for_s in (10.0, 120.0) if is_full else (11.0,):
            with load.broken("a node is cut off", cut_off=CUT):
                cell.cut(port, direction)
                await load.go_on(for_s)
                cell.heal()
                healed_after_s = await all_writable(stage, load)
            await load.go_on(3.0)

    load = stage.play(story)

    report.tell(f"the node had Redis again {healed_after_s:.1f} s after it was healed")
    assert_nobody_registered_anew(load)
    assert max(look.age_s for look in load.log.looks if look.node == CUT) > ADMITS_AGE_AFTER_S


@pytest.mark.timeout(1200)
def test_connections_are_half_open(celled_stage: tuple[Stage, int], cell: Cell, report: Report, is_full: bool) -> None:
    """F11: what comes over them is lost without a word. The node finds out, and makes new ones."""
    stage, port = celled_stage
    stage.report = report

    async def story(load: Load) -> None:
        for _ in range(30 if is_full else 1):
            with load.broken("connections are half-open"):
                assert cell.leave_half_open(port)
                await load.go_on(6.0)  # by then it has noticed
                await until(lambda: writable(stage, CUT), load, "the node has Redis again")
                cell.heal()
            await load.go_on(1.0)

    load = stage.play(story)

    assert_nobody_registered_anew(load)


@pytest.mark.timeout(600)
def test_connections_are_reset_all_the_time(
    processes: Processes,
    free_port: Callable[[], int],
    tools: Callable[[MissingToolError], None],
    report: Report,
    is_full: bool,
) -> None:
    """F12: every 200 ms, those of one node to Redis. Nothing is lost and nothing told twice."""
    try:
        server = processes.start(redis(free_port()))
    except MissingToolError as missing:
        tools(missing)
    with Proxy(server.url, free_port()) as proxy:
        through = proxy.url.replace("http", "redis")
        nodes = start_nodes(processes, free_port, [server.url, server.url, through])
        stage = Stage(nodes, [node.url for node in nodes], server, report)

        async def story(load: Load) -> None:
            with load.broken("connections are reset"):
                until_s = time.monotonic() + (60.0 if is_full else 6.0)
                while time.monotonic() < until_s:
                    await in_thread(proxy.behave, Honest())
                    await load.go_on(0.2)
            await all_writable(stage, load)

        load = stage.play(story, contend_at=CUT)
        report.tell(f"{proxy.connections} connections")
        for running in (*nodes, server):
            running.stop()

    assert_nobody_registered_anew(load)
