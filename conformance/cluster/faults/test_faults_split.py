"""The network parts: on one side Redis' primary with one of three nodes and a sentinel, on the other side the rest.

The larger side promotes its replica, and while the cut lasts there are two registries, each for its own clients.
That they agree meanwhile is not promised. That each goes on listing who renews there, that neither list gets emptier,
and that both are one again afterwards with all that either has acknowledged, is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from redis.exceptions import RedisError

from conformance.conftest import RanAgainst
from conformance.peers.processes import MissingToolError, Processes, facade
from conformance.peers.redis import Sentinels, ask, redis, sentinel

from .cell import Cell
from .figures import Report
from .load import Load
from .stage import SETTINGS, Stage, start_nodes, until
from .test_faults_redis import all_writable, assert_nobody_registered_anew

SIDES = (0,), (1, 2)


@pytest.fixture
def parted(
    processes: Processes,
    free_port: Callable[[], int],
    tools: Callable[[MissingToolError], None],
    ran_against: RanAgainst,
    report: Report,
) -> Iterator[tuple[Stage, Cell, Sentinels]]:
    """A node, the primary and a sentinel are in a network namespace; two nodes, a replica, two sentinels are not."""
    group = Sentinels(processes, free_port)
    try:
        with Cell() as cell:
            port = free_port()
            here, there = cell.outside, cell.address
            group.servers.append(processes.start(cell.inside(redis(port, host=there))))
            group.servers.append(
                processes.start(redis(free_port(), host=here, options={"replicaof": f"{there} {port}"}))
            )
            for host in (there, here, here):
                program = sentinel(free_port(), port, host=host, primary_host=there)
                group.sentinels.append(processes.start(cell.inside(program) if host == there else program))
            group.wait_until_settled()
            nodes = [processes.start(cell.inside(facade([free_port()], SETTINGS, [group.store])))]
            nodes += start_nodes(processes, free_port, [group.store] * 2)
            ran_against("cluster, faults", "three nodes of ours over a primary and a replica that a network parts")
            yield Stage(nodes, [node.url for node in nodes], report=report), cell, group
            for running in (*nodes, *group.sentinels, *group.servers):
                running.stop()
    except MissingToolError as missing:
        tools(missing)


@pytest.mark.timeout(1200)
def test_the_network_parts_the_primary_and_one_node_from_the_rest(
    parted: tuple[Stage, Cell, Sentinels], is_full: bool
) -> None:
    stage, cell, group = parted
    took_s: list[str] = []

    def are_one() -> bool:
        with suppress(RedisError):
            return [ask(server.url, "ROLE")[0] for server in group.servers] == [b"slave", b"master"]
        return False

    async def story(load: Load) -> None:
        for_s = 60.0 if is_full else 15.0
        with load.broken("the network is parted", cut_off=0):
            cell.isolate(int(stage.urls[0].rpartition(":")[2]))
            began = len(load.log.ops)
            await load.go_on(for_s)
            both = {op.node for op in load.log.ops[began:] if op.code in (200, 204)}
            assert both == {0, 1, 2}, "each side goes on"
            assert ask(group.servers[1].url, "ROLE")[0] == b"master"
            cell.heal()
            took_s.append(f"{await until(are_one, load, 'the old primary follows the new one'):.1f} s")
            await all_writable(stage, load)
        await load.go_on(3.0)

    load = stage.play(story, sides=SIDES)

    stage.report.tell(f"the old primary followed the new one {', '.join(took_s)} after the network was whole again")
    assert_nobody_registered_anew(load)
