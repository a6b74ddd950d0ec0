"""A Eureka server that lists us among its peers tells us at once: that its caches are 30 s old does not matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from conformance.conftest import RanAgainst
from conformance.peers.processes import MissingToolError, Processes, facade
from conformance.peers.upstreams import QUICK, eureka_behind

from .conftest import NodeAt
from .setups import Node, soon


@pytest.fixture
def told(
    processes: Processes, free_port: Callable[[], int], node_at: NodeAt, ran_against: RanAgainst
) -> Iterator[tuple[Node, Node]]:
    """Ours, and a stock Eureka server behind it that has it as its peer."""
    port = free_port()
    try:
        # By another name than its own: a server takes a peer on its own host for itself, whatever the port.
        upstream = eureka_behind(processes, free_port(), "stock", [f"http://localhost:{port}/eureka/"])
    except MissingToolError as missing:
        pytest.skip(str(missing))
    upstream.start()
    ran_against("backing", f"ours as a peer of {upstream.title}")
    ours = processes.start(facade([port], QUICK, [upstream.store]))
    yield node_at(ours.url), node_at(upstream.url)
    ours.stop()
    upstream.server.stop()


def test_what_is_registered_with_a_stock_server_that_knows_us_is_shown_at_once(
    told: tuple[Node, Node], name: str
) -> None:
    ours, straight = told
    born = straight.register("eureka", name)

    def is_listed() -> None:
        assert {one["status"] for one in ours.eureka_lists(name).values()} == {"UP"}

    def is_gone() -> None:
        assert ours.eureka_lists(name) == {}

    print(f"listed by us after {soon(is_listed):.2f} s")
    straight.cancel(born)
    print(f"gone from us after {soon(is_gone):.2f} s")
