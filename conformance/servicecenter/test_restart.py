"""Case 156: what a server that was killed still knows. It starts servers of its own, whatever the URL that is asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.peers.processes import Processes, Program, etcd, facade, servicecenter

from .asking import ServiceCenter, Shop, assert_json, assert_ok


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as processes:
        yield processes


@pytest.fixture
def lasting(processes: Processes, servicecenter_kind: str, free_port: Callable[[], int], tmp_path: Path) -> Program:
    """A server that keeps its data when it is killed and started again."""
    if servicecenter_kind == "ours":
        return facade([free_port()], stores=[f"sqlite:///{tmp_path}/registry.db"])
    if "SERVICECENTER_BIN" not in os.environ:
        pytest.skip("SERVICECENTER_BIN names no real ServiceCenter to start and kill")
    return servicecenter(free_port(), processes.start(etcd(free_port())).url)


def test_156_a_killed_server_knows_all_when_it_is_back(
    processes: Processes, lasting: Program, servicecenter_kind: str, app: str
) -> None:
    server = processes.start(lasting)
    sc = ServiceCenter(server.url, servicecenter_kind)
    shop = Shop.create(sc, app)
    one = f"microservices/{shop.s1}"
    assert_ok(sc.put(f"{one}/schemas/x", {"schema": "text", "summary": "ab12"}))
    assert_ok(sc.post(f"{one}/tags", {"tags": {"k1": "v1"}}))
    instance = sc.register(shop.s1, properties={"zone": "z1"})
    sc.find(app, "prov", consumer=shop.consumer)

    def is_consumed() -> None:
        assert sc.consumers(shop.s1) == {shop.consumer}

    sc.soon(is_consumed)
    service, whole = sc.service(shop.s1), sc.find(app, "prov")

    server.kill()
    processes.start(lasting)

    assert sc.service(shop.s1) == service
    assert_json(sc.get(f"{one}/schemas"), {"schemas": [{"schemaId": "x", "summary": "ab12"}]})
    assert_json(sc.get(f"{one}/tags"), {"tags": {"k1": "v1"}})
    assert_json(sc.find(app, "prov"), whole.json())
    assert sc.consumers(shop.s1) == {shop.consumer}
    assert whole.instance_ids() == {instance}
    assert sc.find(app, "prov", rev=whole.revision).status == 304
    assert_ok(sc.put(f"{one}/instances/{instance}/heartbeat"))
