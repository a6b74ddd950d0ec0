"""Case 153, and 50 for services that are shared: how much a tenant may register, and what is there for all of them.

It starts servers of its own, whatever the URL that is asked; both kinds are told the limits by the same variables.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from conformance.peers.processes import Processes, Program, etcd, facade, servicecenter

from .asking import Answer, ServiceCenter, assert_ok, assert_refused, unique

LIMITS = {
    "QUOTA_SERVICE": "1",
    "QUOTA_INSTANCE": "1",
    "QUOTA_SCHEMA": "2",
    "QUOTA_TAG": "2",
    "CSE_SHARED_SERVICES": "everywhere,elsewhere",
}


@pytest.fixture(scope="module")
def limited_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with Processes(tmp_path_factory.mktemp("limited")) as processes:
        yield processes


@pytest.fixture(scope="module")
def limited_url(limited_processes: Processes, servicecenter_kind: str, free_port: Callable[[], int]) -> str:
    program: Program
    if servicecenter_kind == "ours":
        program = facade([free_port()])
    elif "SERVICECENTER_BIN" not in os.environ:
        pytest.skip("SERVICECENTER_BIN names no real ServiceCenter to start with limits")
    else:
        program = servicecenter(free_port(), limited_processes.start(etcd(free_port())).url)
    return limited_processes.start(replace(program, environment={**program.environment, **LIMITS})).url


@pytest.fixture
def limited(limited_url: str, servicecenter_kind: str) -> ServiceCenter:
    """A server with low limits, seen from a project that holds nothing yet."""
    return ServiceCenter(limited_url, servicecenter_kind, project=unique("project"))


@pytest.fixture
def shared(limited_url: str, servicecenter_kind: str) -> ServiceCenter:
    """The same server, seen from where shared services live."""
    return ServiceCenter(limited_url, servicecenter_kind)


def create(sc: ServiceCenter, name: str, **members: object) -> Answer:
    key = {"appId": "a1", "serviceName": name, "version": "1.0.0", "environment": "development"}
    return sc.post("microservices", {"service": {**key, **members}})


def register(sc: ServiceCenter, service_id: str, **members: object) -> Answer:
    instance = {"hostName": "h", "endpoints": ["rest://10.0.0.1:80"], **members}
    return sc.post(f"microservices/{service_id}/instances", {"instance": instance})


def test_153_a_service_more_than_the_quota_is_refused(limited: ServiceCenter) -> None:
    limited.create_service("a1", "first")

    assert_refused(
        create(limited, "second"),
        400100,
        "no quota to create SERVICE, max num is 1, curNum is 1, apply num is 1",
    )


def test_153_a_repeat_is_no_more_than_there_was(limited: ServiceCenter) -> None:
    """The original counts before it looks, so at the limit a client that starts again is refused."""
    service_id = limited.create_service("a1", "first")
    again = create(limited, "first")

    if limited.expected(ours=True, real=False):
        assert again.json() == {"serviceId": service_id}
    else:
        assert_refused(again, 400100, "no quota to create SERVICE")


def test_153_of_many_at_once_no_more_than_the_quota_are_taken(limited: ServiceCenter) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: create(limited, f"svc-{number}"), range(8)))
    taken = sum(answer.status == 200 for answer in answers)

    assert taken == 1 or limited.expected(ours=False, real=taken >= 1)


def test_153_what_is_deleted_makes_room(limited: ServiceCenter) -> None:
    service_id = limited.create_service("a1", "first")
    assert_ok(limited.delete(f"microservices/{service_id}"))

    def is_taken() -> None:
        assert create(limited, "second").status == 200

    limited.soon(is_taken)


def test_153_another_tenant_has_a_quota_of_its_own(limited: ServiceCenter) -> None:
    limited.create_service("a1", "first")
    other = ServiceCenter(limited.url, limited.kind, limited.project, {"X-Domain-Name": unique("domain")})

    assert create(other, "first").status == 200


def test_153_an_instance_more_than_the_quota_is_refused(limited: ServiceCenter) -> None:
    service_id = limited.create_service("a1", "first")
    instance_id = limited.register(service_id)

    assert_refused(
        register(limited, service_id), 400100, "no quota to create INSTANCE, max num is 1, curNum is 1, apply num is 1"
    )
    assert_ok(limited.put(f"microservices/{service_id}/instances/{instance_id}/heartbeat"))


def test_153_an_instance_may_register_again_at_the_limit(limited: ServiceCenter) -> None:
    """As above; go-chassis does so after each failed heartbeat, and the original takes it for one more."""
    service_id = limited.create_service("a1", "first")
    limited.register(service_id, instanceId="i1")

    assert register(limited, service_id, instanceId="i1").status == limited.expected(ours=200, real=400)


def test_153_of_many_instances_at_once_no_more_than_the_quota_are_taken(limited: ServiceCenter) -> None:
    service_id = limited.create_service("a1", "first")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: register(limited, service_id), range(8)))
    taken = sum(answer.status == 200 for answer in answers)

    assert taken == 1 or limited.expected(ours=False, real=taken >= 1)


def test_153_a_schema_more_than_the_quota_is_refused(limited: ServiceCenter) -> None:
    service_id = limited.create_service("a1", "first", schemas=["x"])
    path = f"microservices/{service_id}/schemas"
    assert_ok(limited.put(f"{path}/y", {"schema": "text"}))

    def is_refused() -> None:
        refused = limited.put(f"{path}/z", {"schema": "text"})
        assert_refused(refused, 400100, "no quota to create SCHEMA, max num is 2, curNum is 2, apply num is 1")

    limited.soon(is_refused)
    assert_ok(limited.put(f"{path}/x", {"schema": "text"}))


def test_153_more_schemas_at_once_than_the_quota_are_no_valid_request(limited: ServiceCenter) -> None:
    refused = create(limited, "first", schemas=["x", "y", "z"])
    service_id = limited.create_service("a1", "first")
    schemas = [{"schemaId": name, "schema": "text", "summary": "ab12"} for name in "xyz"]

    assert_refused(refused, 400001, "MicroService.Schemas")
    assert_refused(
        limited.post(f"microservices/{service_id}/schemas", {"schemas": schemas}), 400001, "Invalid request."
    )


def test_153_more_tags_than_the_quota_are_no_valid_request(limited: ServiceCenter) -> None:
    path = f"microservices/{limited.create_service('a1', 'first')}/tags"

    assert_refused(limited.post(path, {"tags": dict.fromkeys("abc", "v")}), 400001, "AddServiceTagsRequest.Tags")
    assert_ok(limited.post(path, {"tags": dict.fromkeys("ab", "v")}))


def test_050_what_is_shared_costs_nothing_and_is_listed_on_demand(shared: ServiceCenter) -> None:
    names = ["everywhere", "elsewhere"]
    ids = {shared.create_service("default", name) for name in names}

    def are_listed() -> None:
        answers = [shared.get("microservices", **query) for query in ({"withShared": "true"}, {})]
        listed = [{one["serviceName"] for one in answer.json().get("services", [])} for answer in answers]
        assert listed[0] >= {*names, "SERVICECENTER"}
        assert listed[1].isdisjoint({*names, "SERVICECENTER"})

    shared.soon(are_listed)
    assert len(ids) == 2


def test_050_instances_of_what_is_shared_cost_nothing(shared: ServiceCenter) -> None:
    service_id = shared.create_service("default", "everywhere")

    assert [register(shared, service_id).status for _ in range(3)] == [200, 200, 200]


@pytest.mark.parametrize("env", ["", "development", "production"])
def test_050_what_is_shared_is_found_whatever_environment_is_asked_for(shared: ServiceCenter, env: str) -> None:
    instance_id = shared.register(shared.create_service("default", "everywhere"))

    def is_found() -> None:
        assert instance_id in shared.find("default", "everywhere", env=env).instance_ids()

    shared.soon(is_found)


def test_050_what_is_shared_is_found_by_all_tenants(shared: ServiceCenter, limited: ServiceCenter) -> None:
    instance_id = shared.register(shared.create_service("default", "everywhere"))
    answer = limited.find("default", "everywhere")

    if limited.expected(ours=True, real=False):
        assert instance_id in answer.instance_ids()
    else:
        assert_refused(answer, 400012, "provider does not exist")


def test_050_whoever_found_what_is_shared_may_ask_for_it_by_id(shared: ServiceCenter, limited: ServiceCenter) -> None:
    """Java clients ask for each service that they were told of, and drop all when one is refused."""
    service_id = shared.create_service("default", "everywhere")
    answer = limited.get(f"microservices/{service_id}")

    assert answer.status == limited.expected(ours=200, real=400)


def test_050_a_name_elsewhere_is_not_shared(shared: ServiceCenter, limited: ServiceCenter) -> None:
    limited.create_service("default", "everywhere")

    def is_listed() -> None:
        assert [one["serviceName"] for one in limited.get("microservices").json()["services"]] == ["everywhere"]

    limited.soon(is_listed)
    assert_refused(create(limited, "second"), 400100)
