"""What a ServiceCenter knows beside instances: services, their properties, tags and schemas."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conformance.servicecenter.asking import ServiceCenter, assert_json, assert_ok

from .conftest import StartNode
from .setups import APP, Born, Setup, soon

Registered = Callable[..., Born]

FACTS = {
    "alias": "known:as",
    "description": "sells things",
    "level": "BACK",
    "framework": {"name": "Go-Chassis", "version": "2.8.0"},
    "properties": {"allowCrossApp": "true", "a:b": "ünï"},
    "schemas": ["orders"],
}
TAGS = {"team": "blue", "a.b": "c"}
SCHEMA = {"schema": "openapi: 3.0.0 # ünï", "summary": "ab12"}


def tell_all(sc: ServiceCenter, service_id: str) -> None:
    assert_ok(sc.post(f"microservices/{service_id}/tags", {"tags": TAGS}))
    assert_ok(sc.put(f"microservices/{service_id}/schemas/orders", SCHEMA))


def facts_of(sc: ServiceCenter, service_id: str) -> dict[str, object]:
    service = sc.service(service_id)
    return {name: service.get(name) for name in ("serviceName", *FACTS)}


def tags_of(sc: ServiceCenter, service_id: str) -> object:
    return sc.get(f"microservices/{service_id}/tags").json().get("tags")


@pytest.fixture
def service_id(setup: Setup, name: str) -> str:
    """Of a service with all that one may have, and no instance."""
    service_id = setup.node.create_service(name, **FACTS | {"alias": f"{name}:alias"})
    tell_all(setup.node.sc, service_id)
    return service_id


def test_a_service_without_instances_is_kept(setup: Setup, service_id: str, name: str) -> None:
    """A Eureka has no place for it: there it lives in our own store."""
    expected = {"serviceName": name} | FACTS | {"alias": f"{name}:alias"}

    assert facts_of(setup.node.sc, service_id) == expected
    assert tags_of(setup.node.sc, service_id) == TAGS
    assert_json(setup.node.sc.get(f"microservices/{service_id}/schemas/orders"), {"schema": SCHEMA["schema"]})
    assert not setup.node.eureka_lists(name)


@pytest.mark.parametrize("setup", ["servicecenter", "both"], indirect=True)
def test_all_of_it_is_in_the_servicecenter_behind(setup: Setup, service_id: str, name: str) -> None:
    straight = setup.straight("servicecenter").sc

    straight.soon(lambda: straight.service(service_id))
    assert facts_of(straight, service_id) == facts_of(setup.node.sc, service_id)
    assert tags_of(straight, service_id) == TAGS
    assert_json(straight.get(f"microservices/{service_id}/schemas/orders"), {"schema": SCHEMA["schema"]})


@pytest.mark.parametrize("setup", ["servicecenter", "both"], indirect=True)
def test_what_is_said_of_it_there_is_seen_here(setup: Setup, service_id: str) -> None:
    straight = setup.straight("servicecenter").sc
    straight.soon(lambda: assert_ok(straight.put(f"microservices/{service_id}/properties", {"properties": {"a": "b"}})))
    straight.put(f"microservices/{service_id}/schemas/orders", SCHEMA | {"schema": "changed", "summary": "cd34"})

    def is_seen() -> None:
        assert setup.node.sc.service(service_id)["properties"] == {"a": "b"}
        assert_json(setup.node.sc.get(f"microservices/{service_id}/schemas/orders"), {"schema": "changed"})

    soon(is_seen)


def test_a_deleted_service_is_gone_on_either_side(setup: Setup, service_id: str, name: str) -> None:
    assert setup.node.sc.delete(f"microservices/{service_id}", force="true").status == 200

    assert setup.node.sc.get(f"microservices/{service_id}").status == 400
    if setup.keeper("servicecenter").protocol == "servicecenter":
        straight = setup.straight("servicecenter").sc
        straight.soon(lambda: _assert_unknown(straight, service_id))
    soon(lambda: _assert_unknown(setup.other.sc, service_id))


def _assert_unknown(sc: ServiceCenter, service_id: str) -> None:
    assert sc.get(f"microservices/{service_id}", noCache="1").status == 400


@pytest.mark.parametrize("setup", ["eureka"], indirect=True)
def test_a_lost_store_of_ours_is_rebuilt_from_the_marks(
    setup: Setup, registered: Registered, start_node: StartNode, name: str
) -> None:
    """A Eureka holds instances alone; each carries what its service was. Only the texts of schemas are nowhere else."""
    service_id = setup.node.create_service(name, **FACTS | {"alias": f"{name}:alias"})
    tell_all(setup.node.sc, service_id)
    registered("servicecenter", name)
    expected = facts_of(setup.node.sc, service_id)

    new = ServiceCenter(start_node(*(one.store for one in setup.upstreams.values())).url)

    soon(lambda: new.service(service_id))  # a Eureka answers from what it cached a while ago
    assert facts_of(new, service_id) == expected
    assert tags_of(new, service_id) == TAGS
    assert new.find(APP, name, env="").status == 200


@pytest.mark.parametrize("setup", ["servicecenter", "both"], indirect=True)
def test_ids_are_those_of_the_servicecenter_behind(setup: Setup, name: str) -> None:
    """Whoever goes to it directly is asked for the same ids; both derive them from the service's key."""
    straight = setup.straight("servicecenter").sc
    theirs = straight.create_service(APP, name, "0.0.1", environment="")

    assert setup.node.create_service(name) == theirs
