"""The registries behind us and our nodes in front of them, started once for the session when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from conformance.conftest import RanAgainst, skip_without
from conformance.eureka.client import Eureka
from conformance.peers.processes import MissingToolError, Processes, Running, facade
from conformance.peers.upstreams import QUICK, Upstream, eureka_behind, servicecenter_behind
from conformance.servicecenter.asking import ServiceCenter

from .setups import SETUPS, Born, Node, Setup, unique_name

STAYING = 40
"""A ServiceCenter, and we, doubt that nearly all instances are gone at once: so many stay."""
LONG_LEASES: Mapping[str, Mapping[str, Any]] = {
    "eureka": {"leaseInfo": {"renewalIntervalInSecs": 300, "durationInSecs": 3600}},
    "servicecenter": {"healthCheck": {"mode": "push", "interval": 300, "times": 12}},
}

MakeUpstream = Callable[[str], Upstream]
StartNode = Callable[..., Running]
StartSetup = Callable[[str], Setup]
NodeAt = Callable[..., Node]


@pytest.fixture(scope="session")
def new_upstream(
    processes: Processes, free_port: Callable[[], int], tmp_path_factory: pytest.TempPathFactory
) -> MakeUpstream:
    """`new_upstream(protocol)` starts an empty registry. Without its tools the test is skipped, but not in CI."""

    def start(protocol: str) -> Upstream:
        try:
            if protocol == "eureka":
                return eureka_behind(processes, free_port()).start()
            home = tmp_path_factory.mktemp("behind")
            return servicecenter_behind(processes, free_port(), free_port(), home).start()
        except MissingToolError as missing:
            skip_without(missing)

    return start


@pytest.fixture(scope="session")
def start_node(
    processes: Processes, free_port: Callable[[], int], tmp_path_factory: pytest.TempPathFactory
) -> StartNode:
    """`start_node(store, …, setting=value)` starts a server of ours in front of these."""

    def start(*stores: str, **settings: str) -> Running:
        data_dir = {"data_dir": str(tmp_path_factory.mktemp("data"))}
        return processes.start(facade([free_port()], QUICK | data_dir | settings, stores))

    return start


@pytest.fixture(scope="session")
def node_at() -> Iterator[NodeAt]:
    """`node_at(url, kind)`: a server, to be asked in both protocols."""
    nodes: dict[str, Node] = {}

    def connect(url: str, kind: str = "ours") -> Node:
        if url not in nodes:
            nodes[url] = Node(url, Eureka(url), ServiceCenter(url, kind))
        return nodes[url]

    yield connect
    for node in nodes.values():
        node.eureka.disconnect()


@pytest.fixture(scope="session")
def upstreams(new_upstream: MakeUpstream, node_at: NodeAt) -> MakeUpstream:
    """`upstreams(protocol)`: the one that all set-ups of this session have in common."""
    started: dict[str, Upstream] = {}

    def find_or_start(protocol: str) -> Upstream:
        if protocol not in started:
            started[protocol] = new_upstream(protocol)
            let_some_stay(protocol, node_at(started[protocol].url, started[protocol].kind))
        return started[protocol]

    return find_or_start


def let_some_stay(protocol: str, straight: Node) -> None:
    for number in range(STAYING):
        if protocol == "eureka":
            straight.eureka.given("STAYS", f"stays-{number}", **LONG_LEASES[protocol])
        else:
            straight.register(protocol, "stays", instanceId=f"stays-{number}", **LONG_LEASES[protocol])


@pytest.fixture(scope="session")
def setups(upstreams: MakeUpstream, start_node: StartNode, node_at: NodeAt, ran_against: RanAgainst) -> StartSetup:
    """`setups(name)`: two nodes of ours in front of these registries."""
    started: dict[str, Setup] = {}

    def find_or_start(name: str) -> Setup:
        if name not in started:
            behind = {protocol: upstreams(protocol) for protocol in SETUPS[name]}
            stores = [one.store for one in behind.values()]
            first, second = start_node(*stores), start_node(*stores)
            straight_to = {protocol: node_at(one.url, one.kind) for protocol, one in behind.items()}
            started[name] = Setup(name, behind, node_at(first.url), node_at(second.url), straight_to, first)
        for upstream in started[name].upstreams.values():
            ran_against("backing", f"ours in front of {upstream.title}")
        return started[name]

    return find_or_start


@pytest.fixture(params=SETUPS, ids=lambda name: f"{name}-behind")
def setup(request: pytest.FixtureRequest, setups: StartSetup) -> Setup:
    return setups(request.param)


@pytest.fixture
def name() -> str:
    """Of a service that no other test uses."""
    return unique_name()


@pytest.fixture
def registered(setup: Setup) -> Iterator[Callable[..., Born]]:
    """`registered(protocol, name, …)` registers through our first node; what a test leaves there is removed."""
    borns: list[Born] = []

    def register(protocol: str, name: str, **changes: object) -> Born:
        borns.append(setup.node.register(protocol, name, **changes))
        return borns[-1]

    yield register
    for born in borns:
        setup.node.cancel(born)
