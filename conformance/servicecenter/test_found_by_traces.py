"""Where random traces found that we differ from the original on purpose; what was mended is in differential/traces."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

import pytest

from conformance.peers.patience import PATIENCE_S

from .asking import ServiceCenter, Shop, assert_json, assert_ok, assert_refused, unique
from .sockets import opened


@pytest.mark.parametrize(
    ("method", "path", "body", "detail"),
    [
        pytest.param("PUT", "heartbeats", b"{", "Unmarshal error", id="case086-of-instances"),
        pytest.param("POST", "instances/action?type=query", b"{", "Unmarshal error", id="case086-of-a-batch"),
        pytest.param("POST", "dependencies", b'{"dependencies":[null]}', "invalid nil pointer", id="case127-null"),
    ],
)
def test_a_body_that_cannot_be_read_is_told_with_the_reason(
    sc: ServiceCenter, method: str, path: str, body: bytes, detail: str
) -> None:
    answer = sc.ask(method, path, body)

    assert_refused(answer, 400001, detail)
    if path != "dependencies":
        assert (answer.json()["detail"] == detail) == sc.expected(ours=False, real=True)


def test_041_null_among_providers_is_refused(sc: ServiceCenter, app: str) -> None:
    """The original keeps it."""
    key = {"appId": app, "serviceName": "svc", "version": "1.0.0"}
    answer = sc.post("microservices", {"service": {**key, "providers": [None]}})

    assert answer.status == sc.expected(ours=400, real=200)


def test_074_the_name_of_tags_is_read_in_any_case(sc: ServiceCenter, app: str) -> None:
    """The original takes no notice, which leaves the service without tags."""
    path = f"microservices/{sc.create_service(app, 'svc')}/tags"
    assert_ok(sc.post(path, {"TAGS": {"k1": "v1"}}))

    sc.soon(lambda: assert_json(sc.get(path), sc.expected(ours={"tags": {"k1": "v1"}}, real={})))


def test_092_one_instance_is_found_in_the_cache(sc: ServiceCenter, app: str) -> None:
    """In the original this first question makes all that follow fail, for two minutes."""
    service_id = sc.create_service(app, "svc")
    path = f"microservices/{service_id}/instances"
    answer = sc.post(path, {"instance": {"hostName": "h"}})
    time.sleep(sc.expected(ours=0, real=1))
    path = f"{path}/{answer.json()['instanceId']}"

    statuses = [sc.get(path, cacheOnly=1).status, sc.get(path).status]
    assert statuses == sc.expected(ours=[200, 200], real=[400, 400])


def test_095_a_change_that_changes_nothing_leaves_no_trace(sc: ServiceCenter, app: str) -> None:
    """The original notes its time."""
    service_id = sc.create_service(app, "svc")
    instance_id = sc.register(service_id)
    before = sc.instance(service_id, instance_id)["modTimestamp"]
    time.sleep(1.1)
    assert_ok(sc.put(f"microservices/{service_id}/instances/{instance_id}/status", value="UP"))

    def is_noted() -> None:
        moved = sc.instance(service_id, instance_id)["modTimestamp"] > before
        assert moved == sc.expected(ours=False, real=True)

    sc.soon(is_noted)


def test_101_a_bulk_change_of_status_notes_its_time(sc: ServiceCenter) -> None:
    domain = ServiceCenter(sc.url, sc.kind, headers={"X-Domain-Name": unique("domain")})
    service_id = domain.create_service("app", "svc")
    instance_id = domain.register(service_id)
    before = domain.instance(service_id, instance_id)["modTimestamp"]
    time.sleep(1.1)
    assert_ok(domain.put("instances/status", {"status": "DOWN"}))

    def is_noted() -> None:
        changed = domain.instance(service_id, instance_id)
        assert changed["status"] == "DOWN"
        assert (changed["modTimestamp"] > before) == sc.expected(ours=True, real=False)

    sc.soon(is_noted)


def test_107_a_change_of_the_service_alone_makes_no_new_revision(sc: ServiceCenter, shop: Shop) -> None:
    path = f"microservices/{shop.s1}"
    sc.register(shop.s1)
    revision = sc.get(f"{path}/instances").revision
    assert_ok(sc.put(f"{path}/properties", {"properties": {"a": "1"}}))
    sc.soon(lambda: _assert_equal(sc.service(shop.s1).get("properties"), {"a": "1"}))

    assert sc.get(f"{path}/instances", rev=revision).status == 304


def test_122_a_wish_for_what_is_not_there_yet_is_noted(sc: ServiceCenter, shop: Shop, app: str) -> None:
    """So that the watch tells of the provider from its first instance on."""
    assert_refused(sc.find(app, "later", consumer=shop.consumer), 400012)
    later = sc.create_service(app, "later")
    time.sleep(sc.expected(ours=0, real=1))

    assert sc.consumers(later) == sc.expected(ours={shop.consumer}, real=set())


def test_125_of_one_consumer_told_twice_the_last_counts(sc: ServiceCenter, shop: Shop) -> None:
    """The original fails."""
    consumer = {"environment": "development", "appId": shop.app, "serviceName": "cons", "version": "1.0.0"}
    providers = [{"environment": "development", "serviceName": name} for name in ("other", "prov")]
    stated = [{"consumer": consumer, "providers": [provider]} for provider in providers]
    answer = sc.put("dependencies", {"dependencies": stated})

    assert answer.status == sc.expected(ours=200, real=500)
    if sc.kind == "ours":
        assert sc.providers(shop.consumer) == {shop.s1, shop.s2}


def test_132_the_end_of_a_service_is_the_end_of_its_instances(sc: ServiceCenter, shop: Shop) -> None:
    """The original usually forgets to say so: either is right there."""
    instance = sc.register(shop.s1)
    sc.find(shop.app, "prov", consumer=shop.consumer)
    with opened(sc, f"microservices/{shop.consumer}/watcher") as watch:
        assert_ok(sc.delete(f"microservices/{shop.s1}", force="true"))
        if sc.kind == "ours":
            event = watch.next_event()
            assert (event["action"], event["instance"]["instanceId"]) == ("DELETE", instance)


def test_003_a_method_that_http_does_not_know_is_refused(sc: ServiceCenter) -> None:
    """The original routes it as any other; ours does not read on."""
    address = urlsplit(sc.url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE_S) as connection:
        connection.sendall(b"FOO /v4/default/registry/microservices HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head = connection.recv(4096)

    assert head.split()[1] == sc.expected(ours=b"400", real=b"405")


def _assert_equal(one: object, other: object) -> None:
    assert one == other
