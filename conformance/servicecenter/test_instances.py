"""Cases 78-98, 101 and 162: registering, reading, renewing, changing and unregistering instances.

What a lease does in time is asked in `test_leases.py`.
"""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from .asking import Answer, ServiceCenter, Shop, assert_json, assert_ok, assert_refused, body_of_size, unique


@pytest.fixture
def service_id(sc: ServiceCenter, app: str) -> str:
    return sc.create_service(app, "svc", "1.2.3")


def register(sc: ServiceCenter, service_id: str, **members: Any) -> Answer:
    """The answer to a registration; None leaves a member out."""
    instance = {"hostName": "h", "endpoints": ["rest://10.0.0.1:80"], **members}
    present = {name: value for name, value in instance.items() if value is not None}
    return sc.post(f"microservices/{service_id}/instances", {"instance": present})


def stored(sc: ServiceCenter, service_id: str, answer: Answer) -> dict[str, Any]:
    """The instance that a registration made."""
    assert answer.status == 200, answer.text
    instance_id = answer.json()["instanceId"]
    sc.soon(lambda: sc.instance(service_id, instance_id))
    return sc.instance(service_id, instance_id)


def test_078_what_is_left_out_gets_a_default(sc: ServiceCenter, service_id: str) -> None:
    body = {"instance": {"hostName": "h", "endpoints": ["rest://1.1.1.1:80"]}}
    answer = sc.post(f"microservices/{service_id}/instances", body)
    instance = stored(sc, service_id, answer)

    assert re.fullmatch("[0-9a-f]{32}", instance["instanceId"])
    assert abs(int(instance["timestamp"]) - time.time()) < 300
    assert instance == {
        "instanceId": answer.json()["instanceId"],
        "serviceId": service_id,
        "endpoints": ["rest://1.1.1.1:80"],
        "hostName": "h",
        "status": "UP",
        "healthCheck": {"mode": "push", "interval": 30, "times": 3},
        "timestamp": instance["timestamp"],
        "modTimestamp": instance["timestamp"],
        "version": "1.2.3",
    }


DATA_CENTRE = {"name": "dc1", "region": "r1", "availableZone": "az1"}
ENDPOINTS = ["highway://10.0.0.1:7070?login=true", "rest://10.0.0.1:80?sslEnabled=true&protocol=http2", "dubbo://x"]


@pytest.mark.parametrize(
    ("members", "shown"),
    [
        pytest.param({"hostName": "a" * 64}, {"hostName": "a" * 64}, id="case079-host-of-64"),
        pytest.param({"endpoints": None}, {}, id="case080-no-endpoints"),
        pytest.param({"endpoints": []}, {}, id="case080-empty-endpoints"),
        pytest.param({"endpoints": ENDPOINTS}, {"endpoints": ENDPOINTS}, id="case080-order-and-text-are-kept"),
        pytest.param(
            {"healthCheck": {"mode": "push", "interval": 1, "times": 1}},
            {"healthCheck": {"mode": "push", "interval": 5, "times": 3}},
            id="case081-raised",
        ),
        pytest.param(
            {"healthCheck": {"mode": "push", "port": 80, "interval": 15, "times": 4, "url": "/health"}},
            {"healthCheck": {"mode": "push", "port": 80, "interval": 15, "times": 4, "url": "/health"}},
            id="case081-kept",
        ),
        pytest.param(
            {"healthCheck": {"mode": "pull", "interval": 7, "times": 9}},
            {"healthCheck": {"mode": "pull", "interval": 30, "times": 3}},
            id="case082-pull",
        ),
        pytest.param({"dataCenterInfo": DATA_CENTRE}, {"dataCenterInfo": DATA_CENTRE}, id="case083-all-three"),
        pytest.param({"status": "STARTING"}, {"status": "STARTING"}, id="case084-starting"),
        pytest.param({"status": ""}, {"status": "UP"}, id="case084-empty"),
        pytest.param({"version": "9.9.9", "serviceId": "other"}, {"version": "1.2.3"}, id="case078-of-the-service"),
        pytest.param({"ttl": 63, "port": 0, "stage": "prod"}, {}, id="case078-unknown-members"),
        pytest.param({"properties": {"a b": "\u00e4"}}, {"properties": {"a b": "\u00e4"}}, id="case078-properties"),
    ],
)
def test_an_instance_within_the_rules_is_stored(
    sc: ServiceCenter, service_id: str, members: dict[str, Any], shown: dict[str, Any]
) -> None:
    instance = stored(sc, service_id, register(sc, service_id, **members))

    assert {name: instance[name] for name in shown} == shown
    assert "ttl" not in instance and "stage" not in instance


@pytest.mark.parametrize(
    ("members", "text"),
    [
        pytest.param({"hostName": None}, "'MicroServiceInstance.HostName'", id="case079-no-host"),
        pytest.param({"hostName": " "}, "'MicroServiceInstance.HostName'", id="case079-blank-host"),
        pytest.param({"hostName": "a" * 254}, "'MicroServiceInstance.HostName'", id="case079-host-of-254"),
        pytest.param({"endpoints": [""]}, "'MicroServiceInstance.Endpoints'", id="case080-empty-endpoint"),
        pytest.param({"healthCheck": {"mode": "push", "interval": 0}}, "'HealthCheck.Interval'", id="case081-zero"),
        pytest.param({"healthCheck": {"mode": "ping", "interval": 5}}, "'HealthCheck.Mode'", id="case082-ping"),
        pytest.param({"dataCenterInfo": {"name": "dc1"}}, "'DataCenterInfo.Region'", id="case083-only-a-name"),
        pytest.param({"status": "up"}, "'MicroServiceInstance.Status'", id="case084-lower-case"),
        pytest.param({"instanceId": "a b"}, "'MicroServiceInstance.InstanceId'", id="case087-blank-in-id"),
        pytest.param({"instanceId": "a" * 65}, "'MicroServiceInstance.InstanceId'", id="case087-id-of-65"),
    ],
)
def test_a_field_outside_its_rule_is_named(
    sc: ServiceCenter, service_id: str, members: dict[str, Any], text: str
) -> None:
    assert_refused(register(sc, service_id, **members), 400001, text)


def test_079_host_names_may_be_as_long_as_dns_allows(sc: ServiceCenter, service_id: str) -> None:
    """Kubernetes makes such names, and the original refuses them."""
    status = sc.expected(ours=200, real=400)

    assert [register(sc, service_id, hostName="a" * length).status for length in (65, 253)] == [status, status]


def test_085_an_unknown_service_has_no_instances(sc: ServiceCenter) -> None:
    assert_refused(register(sc, "nope"), 400012, "Invalid 'serviceID' in request body.")


@pytest.mark.parametrize("body", [b"", b"instance", b'{"instance":'])
def test_086_what_is_not_json_is_refused(sc: ServiceCenter, service_id: str, body: bytes) -> None:
    assert_refused(sc.post(f"microservices/{service_id}/instances", body), 400001, "Unmarshal error")


@pytest.mark.parametrize("body", [b"{}", b'{"instance":null}'])
def test_086_an_instance_is_required(sc: ServiceCenter, service_id: str, body: bytes) -> None:
    answer = sc.post(f"microservices/{service_id}/instances", body)

    assert_refused(answer, 400001, "'RegisterInstanceRequest.Instance'")


def test_087_registering_a_living_id_again(sc: ServiceCenter, service_id: str) -> None:
    """The original only renews the lease, so an instance that moves stays where it was."""
    own = unique("my.inst")
    first = stored(sc, service_id, register(sc, service_id, instanceId=own, endpoints=["rest://old:1"]))
    again = register(sc, service_id, instanceId=own, endpoints=["rest://new:1"])

    assert_json(again, {"instanceId": own})
    now = sc.instance(service_id, own)
    assert now["endpoints"] == sc.expected(ours=["rest://new:1"], real=["rest://old:1"])
    assert now["timestamp"] == first["timestamp"]


def test_088_each_registration_without_an_id_is_an_instance(sc: ServiceCenter, service_id: str) -> None:
    first, second = sc.register(service_id), sc.register(service_id)

    assert sc.listed(service_id) == {first, second}
    assert first != second


def test_089_the_body_of_a_registration_is_limited(sc: ServiceCenter, service_id: str) -> None:
    limit = sc.expected(ours=64 * 1024, real=5 * 1024)

    def post(size: int) -> Answer:
        body = body_of_size(size, lambda filler: {"instance": {"hostName": "h", "properties": {"k": filler}}})
        return sc.post(f"microservices/{service_id}/instances", body)

    assert post(limit).status == 200
    assert_refused(post(limit + 1), 400001, "request body too large")


def test_090_091_a_list_has_a_revision(sc: ServiceCenter, service_id: str) -> None:
    """Whoever has that revision is told that nothing changed, also of one instance."""
    instance = sc.register(service_id)
    path = f"microservices/{service_id}/instances"
    for whole in (sc.get(path), sc.get(f"{path}/{instance}")):
        assert re.fullmatch("[0-9a-f]{40}", whole.revision)

    for one in (path, f"{path}/{instance}"):
        revision = sc.get(one).revision
        unchanged = sc.get(one, rev=revision)
        assert (unchanged.status, unchanged.body, unchanged.revision) == (304, b"", revision)
        assert unchanged.header("Content-Type") is None


def test_092_an_unknown_instance_is_told_from_an_unknown_service(sc: ServiceCenter, service_id: str) -> None:
    detail = "provider instance does not exist"

    assert_refused(sc.get(f"microservices/{service_id}/instances/nope"), 400017, detail)
    assert_refused(sc.get("microservices/nope/instances/nope"), 400012, "Provider[nope] does not exist.")
    assert_refused(sc.get("microservices/nope/instances"), 400012, "Provider[nope] does not exist.")


def test_092_a_consumer_lists_only_what_it_may_see(sc: ServiceCenter, shop: Shop) -> None:
    as_consumer = {"X-ConsumerId": shop.consumer}
    seen = sc.register(shop.s1)
    hidden = sc.register(shop.closed)
    hidden_path = f"microservices/{shop.closed}/instances"

    assert sc.get(f"microservices/{shop.s1}/instances", headers=as_consumer).instance_ids() == {seen}
    assert_refused(sc.get(hidden_path, headers=as_consumer), 400012, "provider instance does not exist")
    assert_refused(sc.get(f"{hidden_path}/{hidden}", headers=as_consumer), 400017)
    stranger = sc.get(f"microservices/{shop.s1}/instances", headers={"X-ConsumerId": "nope"})
    assert_refused(stranger, 400012, "Consumer[nope] does not exist.")


def test_093_a_heartbeat_changes_nothing_to_be_seen(sc: ServiceCenter, service_id: str) -> None:
    instance = sc.register(service_id)
    before = sc.get(f"microservices/{service_id}/instances")
    assert_ok(sc.put(f"microservices/{service_id}/instances/{instance}/heartbeat"))
    after = sc.get(f"microservices/{service_id}/instances")

    assert (after.revision, after.body) == (before.revision, before.body)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("heartbeat", None, id="case093-heartbeat"),
        pytest.param("status?value=UP", None, id="case096-status"),
        pytest.param("properties", {"properties": {}}, id="case097-properties"),
    ],
)
def test_an_unknown_instance_is_refused(sc: ServiceCenter, service_id: str, path: str, body: Any) -> None:
    """The client's cue to register again."""
    assert_refused(sc.put(f"microservices/{service_id}/instances/nope/{path}", body), 400017)
    assert_refused(sc.put(f"microservices/nope/instances/nope/{path}", body), 400017)


def test_094_a_set_of_heartbeats_has_one_result_each(sc: ServiceCenter, service_id: str) -> None:
    instance = sc.register(service_id)
    good, bad = ({"serviceId": service_id, "instanceId": one} for one in (instance, "nope"))
    answer = sc.put("heartbeats", {"instances": [good, bad, good, bad]})

    assert answer.status == 200
    results = sorted(answer.json()["instances"], key=lambda result: "errMessage" in result)
    assert results[0] == good
    assert results[1:] == [bad | {"errMessage": results[1]["errMessage"]}]
    assert results[1]["errMessage"].startswith("Instance does not exist(")


@pytest.mark.parametrize("body", [{"instances": []}, {}])
def test_094_a_set_of_heartbeats_is_not_empty(sc: ServiceCenter, body: dict[str, Any]) -> None:
    assert_refused(sc.put("heartbeats", body), 400001, "Request format invalid.")


def test_094_a_heartbeat_of_nobody_has_only_an_error(sc: ServiceCenter) -> None:
    answer = sc.put("heartbeats", {"instances": [{}]})

    assert answer.status == 200
    assert [set(result) for result in answer.json()["instances"]] == [{"errMessage"}]


def test_095_an_instance_that_is_down_is_still_found(sc: ServiceCenter, shop: Shop) -> None:
    """Clients filter."""
    instance = sc.register(shop.s1)
    before = sc.find(shop.app, "prov").revision
    assert_ok(sc.put(f"microservices/{shop.s1}/instances/{instance}/status", value="DOWN"))

    def is_down() -> None:
        found = sc.find(shop.app, "prov")
        assert [(one["instanceId"], one["status"]) for one in found.instances()] == [(instance, "DOWN")]
        assert found.revision != before

    sc.soon(is_down)


@pytest.mark.parametrize("query", [{}, {"value": ""}, {"value": "up"}])
def test_096_a_status_is_one_of_five_words(sc: ServiceCenter, service_id: str, query: dict[str, Any]) -> None:
    instance = sc.register(service_id)
    answer = sc.put(f"microservices/{service_id}/instances/{instance}/status", **query)

    assert_refused(answer, 400001, "'UpdateInstanceStatusRequest.Status'")


@pytest.mark.parametrize("status", ["UP", "DOWN", "STARTING", "TESTING", "OUTOFSERVICE"])
def test_096_each_of_five_words_is_taken(sc: ServiceCenter, service_id: str, status: str) -> None:
    instance = sc.register(service_id, status="DOWN" if status == "UP" else "UP")
    assert_ok(sc.put(f"microservices/{service_id}/instances/{instance}/status", value=status))

    def is_set() -> None:
        assert sc.instance(service_id, instance)["status"] == status

    sc.soon(is_set)


def test_097_properties_are_replaced(sc: ServiceCenter, service_id: str) -> None:
    instance = sc.register(service_id, properties={"old": "1"})
    before = sc.instance(service_id, instance)
    sent = {"properties": {"a": "1"}, "hostName": "ignored"}
    assert_ok(sc.put(f"microservices/{service_id}/instances/{instance}/properties", sent))

    def is_replaced() -> None:
        after = sc.instance(service_id, instance)
        assert after == before | {"properties": {"a": "1"}, "modTimestamp": after["modTimestamp"]}

    sc.soon(is_replaced)


def test_097_the_body_of_a_properties_call_is_limited(sc: ServiceCenter, service_id: str) -> None:
    instance = sc.register(service_id)
    limit = sc.expected(ours=64 * 1024, real=3 * 1024)

    def put(size: int) -> Answer:
        body = body_of_size(size, lambda filler: {"properties": {"k": filler}})
        return sc.put(f"microservices/{service_id}/instances/{instance}/properties", body)

    assert_ok(put(limit))
    assert_refused(put(limit + 1), 400001, "request body too large")


def test_162_the_path_says_whose_properties_are_written(sc: ServiceCenter, shop: Shop) -> None:
    """In the original the body can name another service, and its instance is written."""
    own = unique("twin")
    for service_id in (shop.s1, shop.s2):
        sc.register(service_id, instanceId=own)
    sent = {"serviceId": shop.s2, "properties": {"written": "yes"}}
    assert_ok(sc.put(f"microservices/{shop.s1}/instances/{own}/properties", sent))

    def is_written() -> None:
        written = {service for service in (shop.s1, shop.s2) if "properties" in sc.instance(service, own)}
        assert written == sc.expected(ours={shop.s1}, real={shop.s2})

    sc.soon(is_written)


def test_098_an_instance_that_unregisters_is_gone(sc: ServiceCenter, shop: Shop) -> None:
    instance = sc.register(shop.s1)
    path = f"microservices/{shop.s1}/instances/{instance}"
    assert sc.find(shop.app, "prov").instance_ids() == {instance}
    assert_ok(sc.delete(path))

    # The instance itself is gone at once in the original, too; its lists follow within 2.3 s.
    assert_refused(sc.get(path), 400017)
    sc.soon(lambda: assert_json(sc.get(f"microservices/{shop.s1}/instances"), {}))
    sc.soon(lambda: assert_json(sc.find(shop.app, "prov"), {}))
    assert_refused(sc.delete(path), 400017, "Instance's leaseId not exist.")


@pytest.fixture
def domain(sc: ServiceCenter) -> ServiceCenter:
    """The same server, seen from a domain of its own: bulk changes reach a whole domain."""
    return ServiceCenter(sc.url, sc.kind, headers={"X-Domain-Name": unique("domain")})


def statuses(server: ServiceCenter, service_id: str) -> dict[str, str]:
    listed = server.get(f"microservices/{service_id}/instances").instances()
    return {instance["hostName"]: instance.get("status", "") for instance in listed}


def test_101_a_bulk_change_of_status_reaches_those_that_match(domain: ServiceCenter, app: str) -> None:
    service_id = domain.create_service(app, "svc")
    for group in ("g1", "g2"):
        domain.register(service_id, hostName=group, properties={"grp": group, "other": "x"})
    matches = {"matches": {"properties": {"grp": "g1"}}, "status": "OUTOFSERVICE"}
    assert_ok(domain.put("instances/status", matches))
    assert_ok(domain.put("instances/status", {"matches": {"properties": {"grp": "none"}}, "status": "DOWN"}))

    def only_one_changed() -> None:
        assert statuses(domain, service_id) == {"g1": "OUTOFSERVICE", "g2": "UP"}

    domain.soon(only_one_changed)


@pytest.mark.parametrize("body", [{}, {"status": "sleeping"}])
def test_101_a_bulk_change_needs_a_status(domain: ServiceCenter, app: str, body: dict[str, Any]) -> None:
    """The original writes any text, and none, into every instance of the domain."""
    service_id = domain.create_service(app, "svc")
    domain.register(service_id)
    answer = domain.put("instances/status", body)

    assert answer.status == domain.expected(ours=400, real=200)

    def status_now() -> None:
        assert statuses(domain, service_id) == {"host": domain.expected(ours="UP", real=body.get("status", ""))}

    domain.soon(status_now)


def test_101_a_bulk_change_may_reach_many(domain: ServiceCenter, app: str) -> None:
    """The original cannot change more than fit into one transaction of etcd."""
    service_id = domain.create_service(app, "svc")
    for number in range(140):
        assert register(domain, service_id, hostName=f"h{number}").status == 200

    def all_listed() -> None:
        assert len(statuses(domain, service_id)) == 140

    domain.soon(all_listed)
    assert domain.put("instances/status", {"status": "DOWN"}).status == domain.expected(ours=200, real=500)
