"""The suites' load balancer, before nodes that share a real Redis."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.eureka.client import Eureka
from conformance.peers.balancer import Balancer
from conformance.peers.cluster import Cluster
from conformance.peers.processes import Processes
from conformance.peers.redis import Alone

MANY = 30


@pytest.fixture
def cluster(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Cluster]:
    with Processes(tmp_path) as processes:
        cluster = Cluster(processes, free_port, redis=Alone(processes, free_port))
        cluster.redis.start()
        for _ in range(3):
            cluster.add_node()
        yield cluster


@pytest.fixture
def balancer(cluster: Cluster, free_port: Callable[[], int]) -> Iterator[Balancer]:
    with Balancer(free_port(), [node.url for node in cluster.nodes]) as balancer:
        yield balancer


@pytest.fixture
def eureka(balancer: Balancer) -> Iterator[Eureka]:
    client = Eureka(balancer.url)
    yield client
    client.disconnect()


def test_each_connection_is_for_the_next_node_and_shows_all_that_was_written(
    balancer: Balancer, eureka: Eureka
) -> None:
    shown = []
    for number in range(MANY):
        eureka.given("A", f"i{number}")
        shown.append({len(eureka.listed("A")) for _ in balancer.connections})

    assert shown == [{number + 1} for number in range(MANY)]
    assert set(balancer.connections.values()) == {MANY * 4 // 3}


def test_nobody_is_asked_while_a_node_is_behind(cluster: Cluster, eureka: Eureka) -> None:
    """The case might ask that node next."""
    eureka.given("A")
    behind, is_behind = cluster.nodes[2], threading.Event()

    def catch_up() -> None:
        is_behind.clear()
        behind.thaw()

    behind.freeze()
    is_behind.set()
    threading.Timer(1, catch_up).start()
    eureka.given("A", "i2")

    assert not is_behind.is_set()
