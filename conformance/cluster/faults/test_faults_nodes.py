"""A node freezes, dies, or has another time than the rest of the world."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conformance.backing.setups import Node, soon, unique_name
from conformance.eureka.client import Eureka
from conformance.peers.processes import Processes
from conformance.servicecenter.asking import ServiceCenter

from .load import Load
from .stage import NODES, Stage, WallClock, in_thread
from .test_faults_redis import all_writable, assert_nobody_registered_anew


@pytest.mark.timeout(1200)
def test_a_node_is_frozen(stage: Stage, is_full: bool) -> None:
    """F17: for longer than leases last; then it goes on in the middle of what it did. Its clients went elsewhere."""

    async def story(load: Load) -> None:
        for node, for_s in zip(stage.nodes, (120.0, 30.0, 30.0) if is_full else (11.0,), strict=False):
            with load.broken("a node is frozen"):
                node.freeze()
                try:
                    await load.go_on(for_s)
                finally:
                    node.thaw()
            await all_writable(stage, load)
            await load.go_on(3.0)

    stage.play(story)


@pytest.mark.timeout(1200)
def test_a_node_is_killed_and_restarted(stage: Stage, processes: Processes, is_full: bool) -> None:
    """What it acknowledged is in Redis; it has nothing else to lose."""

    async def story(load: Load) -> None:
        for turn in range(12 if is_full else 2):
            at = turn % NODES
            with load.broken("a node is away"):
                stage.nodes[at].kill()
                await load.go_on(2.0)
                stage.nodes[at] = await in_thread(processes.restart, stage.nodes[at])
            await load.go_on(3.0)

    stage.play(story, contend_at=1)


@pytest.mark.timeout(1200)
def test_the_wall_clock_of_a_node_jumps(
    with_wall_clock: Callable[[int], tuple[Stage, WallClock]], is_full: bool
) -> None:
    """F16: an hour ahead, an hour back, ten years ahead. Leases are Redis' business, and it has its own clock."""
    stage, clock = with_wall_clock(1)

    async def story(load: Load) -> None:
        for off in ("+3600", "-3600", "+315360000", "+0"):
            with load.broken(f"a clock is off by {off} s"):
                clock.put_off_by(off)
                await load.go_on(60.0 if is_full else 2.5)

    load = stage.play(story, contend_at=NODES - 1)

    assert_nobody_registered_anew(load)
    assert max(look.age_s for look in load.log.looks) == 0


def test_one_instance_through_all_nodes_and_both_protocols(stage: Stage, is_full: bool) -> None:
    """F26: one record, whichever node it asks; one entry, where it registers in both protocols; nothing moves."""
    nodes = [Node(url, Eureka(url), ServiceCenter(url)) for url in stage.urls]
    name = unique_name()
    place = {"hostName": "10.3.0.1", "ipAddr": "10.3.0.1", "vipAddress": name}
    born = nodes[0].register("eureka", name, **place)
    nodes[1].register("servicecenter", name, endpoints=["rest://10.3.0.1:8080"])

    def everywhere_one() -> None:
        for node in nodes:
            assert (len(node.eureka_lists(name)), len(node.servicecenter_finds(name))) == (1, 1)
        assert len({node.readiness()["revision"] for node in nodes}) == 1

    soon(everywhere_one)
    before = nodes[0].readiness()["revision"]
    shown = [node.servicecenter_finds(name).keys() for node in nodes]
    for turn in range(3000 if is_full else 60):
        node = nodes[turn % NODES]
        if turn % 2:
            assert node.eureka.register(name.upper(), born.eureka_id, **place).status_code == 204
        else:
            assert node.renew(born) == 200

    assert nodes[0].readiness()["revision"] == before
    assert [node.servicecenter_finds(name).keys() for node in nodes] == shown
    for node in nodes:
        node.eureka.disconnect()
