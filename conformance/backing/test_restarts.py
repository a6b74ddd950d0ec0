"""A registry behind us that freezes, or is killed and comes back: with what it held, or empty.

It holds the instances of both protocols. Nothing here judges by time: what it took is printed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from conformance.conftest import RanAgainst
from conformance.peers.processes import START_WITHIN_S, Running
from conformance.peers.upstreams import Upstream

from .clients import AGE, Clients, is_held
from .conftest import MakeUpstream, NodeAt, StartNode
from .setups import PROTOCOLS, Node, soon

AWAY_S = 3.0
BACK_WITHIN_S = START_WITHIN_S
"""A JVM takes its time to start on a busy machine."""


@dataclass(frozen=True)
class Stage:
    upstream: Upstream
    running: Running
    node: Node
    clients: Clients
    data_dir: Path
    """Of the node."""

    def is_current(self) -> bool:
        return AGE not in self.node.eureka.get("apps").headers and bool(self.node.readiness()["store"]["writable"])

    def assert_all_are_held(self) -> None:
        """By the registry behind us, asked past us."""
        held = {born for born in self.clients.borns if is_held(self.upstream.url, self.upstream.protocol, born)}
        assert held == set(self.clients.borns)


@pytest.fixture(scope="module", params=PROTOCOLS, ids=lambda protocol: f"{protocol}-behind")
def stage(
    request: pytest.FixtureRequest,
    new_upstream: MakeUpstream,
    start_node: StartNode,
    node_at: NodeAt,
    ran_against: RanAgainst,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    upstream = new_upstream(request.param)
    ran_against("backing", f"ours in front of {upstream.title} that is frozen and killed")
    data_dir = tmp_path_factory.mktemp("data")
    running = start_node(upstream.store, data_dir=str(data_dir))
    with Clients(node_at(running.url)) as clients:
        yield Stage(upstream, running, clients.node, clients, data_dir)


def be_away(stage: Stage, come_back: Callable[[], object]) -> None:
    """The clients go on while it is away, and until we are current again."""
    began_s = time.monotonic()
    stage.clients.go_on(until=lambda: time.monotonic() - began_s > AWAY_S and stage.clients.age_s > 0)
    print(f"away: {stage.clients.figures()}")
    with ThreadPoolExecutor() as beside:
        returned = beside.submit(come_back)
        stage.clients.go_on(until=lambda: returned.done() and stage.is_current(), within_s=BACK_WITHIN_S)
        returned.result()
    print(f"coming back: {stage.clients.figures()}")
    print(f"all are held there {soon(stage.assert_all_are_held):.1f} s after we were current")
    stage.clients.assert_all_are_listed()


def test_one_that_freezes_and_thaws(stage: Stage) -> None:
    """Its port still takes connections: only time-outs tell."""
    stage.upstream.server.freeze()

    be_away(stage, stage.upstream.server.thaw)


def test_one_that_is_killed_and_comes_back_with_its_data(stage: Stage) -> None:
    if stage.upstream.protocol == "eureka":
        pytest.skip("a Eureka server keeps nothing")
    stage.upstream.kill()

    be_away(stage, partial(stage.upstream.come_back, is_empty=False))


def test_one_that_is_killed_and_comes_back_empty(stage: Stage) -> None:
    """Whoever is alive here is made known to it again; nobody is taken for gone."""
    stage.upstream.kill()

    be_away(stage, partial(stage.upstream.come_back, is_empty=True))


def test_one_that_is_away_while_we_restart(stage: Stage, start_node: StartNode, node_at: NodeAt) -> None:
    """Killed and started again over the same data, at a bad moment: we show what we showed. It comes last."""
    expected = {protocol: stage.node.servicecenter_finds(f"{stage.clients.name}-{protocol}") for protocol in PROTOCOLS}
    stage.upstream.kill()
    stage.running.kill()

    again = node_at(start_node(stage.upstream.store, data_dir=str(stage.data_dir)).url)
    stage.clients.node = again

    for protocol in PROTOCOLS:
        assert set(again.servicecenter_finds(f"{stage.clients.name}-{protocol}")) == set(expected[protocol])
    assert AGE in again.eureka.get("apps").headers
    assert {again.renew(born) for born in stage.clients.borns} == {200}
