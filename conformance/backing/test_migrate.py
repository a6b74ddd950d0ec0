"""`registry-facade migrate` between real registries and stores, and a server that is switched from one to the next
while its clients live on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conformance.conftest import RanAgainst, skip_without
from conformance.peers.processes import PROJECT, MissingToolError, Processes
from conformance.peers.redis import redis
from conformance.peers.upstreams import Upstream

from .clients import Clients, is_held
from .conftest import LONG_LEASES, MakeUpstream, NodeAt, StartNode
from .setups import PROTOCOLS, Node, soon, unique_name

WITHIN_S = 120.0
OTHER = {"eureka": "servicecenter", "servicecenter": "eureka"}


class Registries:
    """One of each kind, started when first asked for."""

    def __init__(self, new_upstream: MakeUpstream, node_at: NodeAt, new_redis: Callable[[], str]) -> None:
        self._new_upstream = new_upstream
        self._node_at = node_at
        self._new_redis = new_redis
        self._upstreams: dict[str, Upstream] = {}
        self._redis = ""

    def upstream(self, protocol: str) -> Upstream:
        if protocol not in self._upstreams:
            self._upstreams[protocol] = self._new_upstream(protocol)
        return self._upstreams[protocol]

    def straight(self, protocol: str) -> Node:
        return self._node_at(self.upstream(protocol).url, self.upstream(protocol).kind)

    def url(self, kind: str, home: Path) -> str:
        if kind == "sqlite":
            return f"sqlite://{home}/registry.db"
        if kind == "redis":
            self._redis = self._redis or self._new_redis()
            return self._redis
        return self.upstream(kind).store


@pytest.fixture(scope="module")
def registries(
    new_upstream: MakeUpstream, node_at: NodeAt, processes: Processes, free_port: Callable[[], int]
) -> Registries:
    def new_redis() -> str:
        try:
            return processes.start(redis(free_port())).url
        except MissingToolError as missing:
            skip_without(missing)

    return Registries(new_upstream, node_at, new_redis)


def migrate(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "REGISTRY_FACADE_DATA_DIR": str(home / "data")}
    command = [sys.executable, "-m", "facade", "migrate", "--cluster", home.name, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WITHIN_S, check=False)


def ids_in(node: Node, protocol: str, name: str) -> set[str]:
    """As the registry's own readers see them."""
    return set(node.eureka_lists(name) if protocol == "eureka" else node.servicecenter_finds(name))


@pytest.mark.parametrize(
    ("by_way_of", "protocol"),
    [
        ("sqlite", "eureka"),
        ("redis", "servicecenter"),
        pytest.param("sqlite", "servicecenter", marks=pytest.mark.full),
        pytest.param("redis", "eureka", marks=pytest.mark.full),
    ],
)
def test_what_one_registry_holds_is_carried_into_a_store_and_from_there_into_the_other(
    registries: Registries, protocol: str, by_way_of: str, tmp_path: Path, ran_against: RanAgainst
) -> None:
    """Each step is looked at first, and done twice: the second time there is nothing left to do."""
    there, other = registries.straight(protocol), registries.straight(OTHER[protocol])
    ran_against(
        "backing", f"migrate out of {registries.upstream(protocol).title}, by way of {by_way_of}, into the other"
    )
    name = unique_name("moved")
    for number in range(3):
        ident = {"instance_id": f"{name}:{number}"} if protocol == "eureka" else {"instanceId": f"{name}-{number}"}
        there.register(protocol, name, **ident, **LONG_LEASES[protocol])

    between = registries.url(by_way_of, tmp_path)
    soon(lambda: _assert_listed(there, protocol, name))  # a stock Eureka answers from its cache
    for from_, to in (
        (registries.url(protocol, tmp_path), between),
        (between, registries.url(OTHER[protocol], tmp_path)),
    ):
        plan = migrate(tmp_path, from_, to)
        assert "Nothing was written." in plan.stdout, plan.stdout + plan.stderr
        assert not ids_in(other, OTHER[protocol], name)
        done = migrate(tmp_path, "--apply", from_, to)
        assert done.returncode in (0, 1), done.stderr
        print(done.stdout)
        again = migrate(tmp_path, "--apply", from_, to)
        assert "\n0 added" in again.stdout, again.stdout + again.stderr
    soon(lambda: _assert_listed(other, OTHER[protocol], name))


def _assert_listed(node: Node, protocol: str, name: str) -> None:
    assert len(ids_in(node, protocol, name)) == 3


def test_a_server_is_switched_from_store_to_store_under_its_clients(
    registries: Registries, start_node: StartNode, node_at: NodeAt, tmp_path: Path, ran_against: RanAgainst
) -> None:
    """No renewal is refused and no list gets shorter; each registry holds what its own clients may ask it for."""
    way = ["eureka", "redis", "servicecenter", "sqlite"]
    ran_against("backing", f"a server switched while running, from sqlite to {', '.join(way)}")
    running = start_node("sqlite:///", cluster=unique_name("cluster"))
    with Clients(node_at(running.url)) as clients, ThreadPoolExecutor() as beside:
        for kind in way:
            # The registries are shared with other cases, whose services may still be there.
            command = (
                "--live",
                "--server",
                running.url,
                "--apply",
                "--only-there",
                "keep",
                registries.url(kind, tmp_path),
            )
            switching = beside.submit(migrate, tmp_path, *command)
            clients.go_on(until=switching.done, within_s=WITHIN_S)
            done = switching.result()
            assert done.returncode == 0, done.stdout + done.stderr
            print(f"to {kind}: {clients.figures()}")
            if kind in PROTOCOLS:
                keeper = registries.upstream(kind)
                assert all(is_held(keeper.url, kind, born) for born in clients.borns)
        clients.go_on(until=lambda: True)
    assert "Traceback" not in running.log_text
