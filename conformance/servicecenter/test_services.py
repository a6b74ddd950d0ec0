"""Cases 29-63: creating, reading, changing and deleting microservices."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

from .asking import ServiceCenter, Shop, assert_json, assert_ok, assert_refused, body_of_size, unique


def create(sc: ServiceCenter, app: str, **members: Any) -> Any:
    """The answer to a create call; the name is `svc` unless one is given, None leaves a member out."""
    service = {"appId": app, "serviceName": "svc", **members}
    return sc.post("microservices", {"service": {name: value for name, value in service.items() if value is not None}})


def test_029_the_id_of_a_service_is_derived_from_its_key(sc: ServiceCenter, app: str) -> None:
    """A client that keeps its id over our data loss goes on working."""
    service_id = sc.create_service(app, "svc", "1.2.3", environment="testing")

    key = f"/cse-sr/ms/indexes/default/default/testing/{app}/svc/1.2.3"
    assert service_id == hashlib.sha1(key.encode()).hexdigest()


@pytest.mark.parametrize(
    ("key", "service_id"),
    [
        pytest.param(
            {"environment": "development", "version": "1.0.0"},
            "cf2f5cbbc44e7219388bce34daa41cf7d4834e03",
            id="case029-with-an-environment",
        ),
        pytest.param(
            {"version": "0.0.1"}, "8ef9d644842988a427357b8f4488ea0d0b2b5e77", id="case029-without-an-environment"
        ),
    ],
)
def test_ids_measured_on_a_real_server_come_true(sc: ServiceCenter, key: dict[str, str], service_id: str) -> None:
    assert_json(create(sc, "default", serviceName="calculator", **key), {"serviceId": service_id})


def test_030_creating_again_changes_nothing(sc: ServiceCenter, app: str) -> None:
    first = sc.create_service(app, "svc", description="first")
    stored = sc.service(first)
    again = create(sc, app, version="1.0.0", environment="development", description="second")

    assert_json(again, {"serviceId": first})
    assert sc.service(first) == stored


@pytest.mark.parametrize("body", [b"{}", b'{"service":null}'])
def test_031_a_service_is_required(sc: ServiceCenter, body: bytes) -> None:
    assert_refused(sc.post("microservices", body), 400001, "Request body is empty")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param(b"", "unexpected end of JSON input", id="case032-empty-body"),
        pytest.param(b'{"service":', "unexpected end of JSON input", id="case032-cut-off"),
        pytest.param(b"service", "invalid character", id="case032-not-json"),
        pytest.param(b'{"service":"text"}', "", id="case032-wrong-type"),
        pytest.param(b"[]", "", id="case032-a-list"),
    ],
)
def test_what_is_not_the_json_of_a_service_is_refused(sc: ServiceCenter, body: bytes, text: str) -> None:
    assert_refused(sc.post("microservices", body), 400001, text)


def test_033_a_free_id_is_kept(sc: ServiceCenter, app: str) -> None:
    own = unique("id")

    assert_json(create(sc, app, serviceId=own), {"serviceId": own})


def test_034_035_an_id_belongs_to_one_key(sc: ServiceCenter, app: str) -> None:
    own = sc.create_service(app, "svc", serviceId=unique("id"))
    key = {"version": "1.0.0", "environment": "development"}

    assert_refused(create(sc, app, serviceId="other-id", **key), 400010, "ServiceID conflict")
    assert_refused(create(sc, app, serviceName="another", serviceId=own, **key), 400010)
    assert_json(create(sc, app, serviceId=own, **key), {"serviceId": own})


def test_036_what_is_left_out_gets_a_default(sc: ServiceCenter) -> None:
    name = unique("svc")
    service_id = sc.post("microservices", {"service": {"serviceName": name}}).json()["serviceId"]

    sc.soon(lambda: sc.service(service_id))
    service = sc.service(service_id)
    stamp = service["timestamp"]
    assert service == {
        "serviceId": service_id,
        "appId": "default",
        "serviceName": name,
        "version": "0.0.1",
        "level": "BACK",
        "status": "UP",
        "timestamp": stamp,
        "modTimestamp": stamp,
    }


def test_037_time_stamps_are_the_servers(sc: ServiceCenter, app: str) -> None:
    service = sc.service(sc.create_service(app, "svc", timestamp="1", modTimestamp="2"))

    assert service["timestamp"] == service["modTimestamp"]
    assert abs(int(service["timestamp"]) - time.time()) < 300


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"serviceName": "a" * 128}, id="case038-name-of-128"),
        pytest.param({"serviceName": "a.b_c-d"}, id="case039-punctuation-inside"),
        pytest.param({"version": "1"}, id="case040-one-part"),
        pytest.param({"version": "1.2.3.4"}, id="case040-four-parts"),
        pytest.param({"version": "32767"}, id="case040-largest-part"),
        pytest.param({"environment": "production"}, id="case041-production"),
        pytest.param({"environment": ""}, id="case041-empty"),
        pytest.param({"level": "MIDDLE"}, id="case042-middle"),
        pytest.param({"status": "DOWN"}, id="case042-down"),
        pytest.param({"description": "ä" * 256}, id="case043-characters-not-bytes"),
        pytest.param({"alias": "a-1:b.c_d"}, id="case044-colon"),
        pytest.param({"framework": {"name": "Go-Chassis", "version": "2.8.0"}}, id="case045-framework"),
        pytest.param({"foo": 1, "level": None, "properties": None}, id="case047-unknown-member"),
    ],
)
def test_a_field_within_its_rule_is_stored(sc: ServiceCenter, app: str, members: dict[str, Any]) -> None:
    answer = create(sc, app, **members)
    assert answer.status == 200, answer.text
    service_id = answer.json()["serviceId"]

    sc.soon(lambda: sc.service(service_id))
    service = sc.service(service_id)
    known = {name: value for name, value in members.items() if value and name != "foo"}
    assert {name: service[name] for name in known} == known
    assert "foo" not in service


def test_047_null_is_the_same_as_absent(sc: ServiceCenter, app: str) -> None:
    body = {"appId": app, "serviceName": "svc", "level": None, "properties": None, "schemas": None, "framework": None}
    answer = sc.post("microservices", {"service": body, "tags": None, "instances": None})

    assert answer.status == 200, answer.text


@pytest.mark.parametrize(
    ("members", "text"),
    [
        pytest.param({"serviceName": "a" * 129}, "'MicroService.ServiceName'", id="case038-name-of-129"),
        pytest.param({"serviceName": ""}, "'MicroService.ServiceName'", id="case038-empty-name"),
        pytest.param({"serviceName": None}, "'MicroService.ServiceName'", id="case038-no-name"),
        pytest.param({"serviceName": "-a"}, "'MicroService.ServiceName'", id="case039-dash-first"),
        pytest.param({"serviceName": "a-"}, "'MicroService.ServiceName'", id="case039-dash-last"),
        pytest.param({"serviceName": "a b"}, "'MicroService.ServiceName'", id="case039-blank"),
        pytest.param({"serviceName": "a:b"}, "'MicroService.ServiceName'", id="case039-colon"),
        pytest.param({"version": "1.2.3.4.5"}, "x[.y[.z]]", id="case040-five-parts"),
        pytest.param({"version": "1.a"}, "x[.y[.z]]", id="case040-letter"),
        pytest.param({"version": "32768"}, "x[.y[.z]]", id="case040-too-large"),
        pytest.param({"environment": "prod"}, "'MicroService.Environment'", id="case041-prod"),
        pytest.param({"level": "middle"}, "'MicroService.Level'", id="case042-lower-case"),
        pytest.param({"status": "TESTING"}, "'MicroService.Status'", id="case042-status-of-instances"),
        pytest.param({"description": "a" * 257}, "'MicroService.Description'", id="case043-257"),
        pytest.param({"alias": "a b"}, "'MicroService.Alias'", id="case044-blank"),
        pytest.param({"alias": "a" * 129}, "'MicroService.Alias'", id="case044-129"),
        pytest.param({"framework": {"name": "x y"}}, "'FrameWork.Name'", id="case045-blank"),
        pytest.param({"appId": "a" * 161}, "'MicroService.AppId'", id="case038-app-of-161"),
        pytest.param({"schemas": ["-x"]}, "'MicroService.Schemas'", id="case038-schema-id"),
        pytest.param({"registerBy": "ME"}, "'MicroService.RegisterBy'", id="case038-register-by"),
    ],
)
def test_a_field_outside_its_rule_is_named(sc: ServiceCenter, app: str, members: dict[str, Any], text: str) -> None:
    assert_refused(create(sc, app, **members), 400001, text)


def test_041_environments_are_four_words(sc: ServiceCenter, app: str) -> None:
    """The original's pattern lets words be joined."""
    assert create(sc, app, environment="developmenttesting").status == sc.expected(ours=400, real=200)


def test_044_an_alias_has_one_owner(sc: ServiceCenter, app: str) -> None:
    """The original answers a create call with the id of whoever owns the alias."""
    owner = sc.create_service(app, "owner", alias=f"{app}:both")
    answer = create(sc, app, serviceName="late", version="1.0.0", environment="development", alias=f"{app}:both")

    assert answer.status == sc.expected(ours=400, real=200)
    assert answer.json().get("serviceId") == sc.expected(ours=None, real=owner)
    assert answer.json().get("errorCode") == sc.expected(ours="400010", real=None)


def test_046_member_names_are_read_in_any_case(sc: ServiceCenter, app: str) -> None:
    assert sc.post("microservices", {"Service": {"APPID": app, "ServiceName": "svc"}}).status == 200


@pytest.mark.parametrize(
    ("service_id", "code", "text"),
    [
        pytest.param("nope", 400012, "Service does not exist.", id="case048-unknown"),
        pytest.param("a" * 65, 400001, "'GetServiceRequest.ServiceId'", id="case048-65-characters"),
        pytest.param("a%20b", 400001, "'GetServiceRequest.ServiceId'", id="case048-blank"),
    ],
)
def test_an_unknown_service_cannot_be_read(sc: ServiceCenter, service_id: str, code: int, text: str) -> None:
    assert_refused(sc.get(f"microservices/{service_id}"), code, text)


def test_049_the_list_holds_every_service_once(empty_project: ServiceCenter, app: str) -> None:
    assert_json(empty_project.get("microservices"), {})

    shop = Shop.create(empty_project, app)

    def lists_all() -> None:
        listed = [service["serviceId"] for service in empty_project.get("microservices").json()["services"]]
        assert sorted(listed) == sorted([shop.s1, shop.s2, shop.consumer, shop.closed, shop.open])

    empty_project.soon(lists_all)


@pytest.mark.parametrize(("query", "shown"), [({}, False), ({"withShared": "true"}, True), ({"withShared": "1"}, True)])
def test_050_the_servers_own_service_is_hidden(sc: ServiceCenter, query: dict[str, Any], shown: bool) -> None:
    names = {service["serviceName"] for service in sc.get("microservices", **query).json().get("services", [])}

    assert ("SERVICECENTER" in names) == shown


def test_051_properties_are_replaced(sc: ServiceCenter, app: str) -> None:
    service_id = sc.create_service(app, "svc", properties={"old": "1"}, description="stays")
    before = sc.service(service_id)
    assert_ok(sc.put(f"microservices/{service_id}/properties", {"properties": {"k": "v"}}))

    def changed() -> None:
        after = sc.service(service_id)
        assert after == before | {"properties": {"k": "v"}, "modTimestamp": after["modTimestamp"]}
        assert int(after["modTimestamp"]) >= int(before["modTimestamp"])

    sc.soon(changed)


def test_052_properties_may_be_cleared(sc: ServiceCenter, app: str) -> None:
    service_id = sc.create_service(app, "svc", properties={"old": "1"})
    assert_ok(sc.put(f"microservices/{service_id}/properties", {}))

    def cleared() -> None:
        assert "properties" not in sc.service(service_id)

    sc.soon(cleared)


def test_053_other_members_of_a_properties_call_are_ignored(sc: ServiceCenter, app: str) -> None:
    """Clients send the whole service."""
    service_id = sc.create_service(app, "svc", framework={"name": "first", "version": "1"})
    sent = {"properties": {"k": "v"}, "framework": {"name": "second", "version": "2"}, "description": "new"}
    assert_ok(sc.put(f"microservices/{service_id}/properties", sent))

    def changed() -> None:
        service = sc.service(service_id)
        assert service["properties"] == {"k": "v"}
        assert service["framework"] == {"name": "first", "version": "1"}
        assert "description" not in service

    sc.soon(changed)


def test_054_the_body_of_a_properties_call_is_limited(sc: ServiceCenter, app: str) -> None:
    service_id = sc.create_service(app, "svc")
    limit = sc.expected(ours=64 * 1024, real=3 * 1024)

    def put(size: int) -> Any:
        body = body_of_size(size, lambda filler: {"properties": {"k": filler}})
        return sc.put(f"microservices/{service_id}/properties", body)

    assert_ok(put(limit))
    assert_refused(put(limit + 1), 400001, "request body too large")


def test_055_properties_of_an_unknown_service_are_refused(sc: ServiceCenter) -> None:
    assert_refused(sc.put("microservices/nope/properties", {"properties": {}}), 400012, "Service does not exist.")


def test_056_a_service_with_instances_is_deleted_by_force_only(sc: ServiceCenter, shop: Shop) -> None:
    instance = sc.register(shop.s2)

    assert_refused(sc.delete(f"microservices/{shop.s2}"), 400013, "Can not delete the service deployed instance(s).")
    assert_ok(sc.delete(f"microservices/{shop.s2}", force="1"))
    asked: dict[str, Any] = {"appId": shop.app, "serviceName": "prov", "version": "2.0.0", "env": "development"}
    sc.soon(lambda: assert_refused(sc.get(f"microservices/{shop.s2}/instances/{instance}"), 400012, "Provider["))
    sc.soon(lambda: assert_refused(sc.get("existence", type="microservice", **asked), 400026))


@pytest.mark.parametrize("with_instance", [False, True], ids=["case057-without-instance", "case058-with-instance"])
def test_a_consumed_service_is_deleted_by_force_only(sc: ServiceCenter, shop: Shop, with_instance: bool) -> None:
    """Consumers are looked for before instances."""
    if with_instance:
        sc.register(shop.s1)
    sc.find(shop.app, "prov", consumer=shop.consumer)

    def is_consumed() -> None:
        assert sc.consumers(shop.s1) == {shop.consumer}

    sc.soon(is_consumed)
    refusal = sc.delete(f"microservices/{shop.s1}")
    assert_refused(refusal, 400023, "Can not delete this service, other service rely it.")
    assert_ok(sc.delete(f"microservices/{shop.s1}", force="true"))


@pytest.mark.parametrize("force", ["false", "0", ""])
def test_059_force_may_be_denied(sc: ServiceCenter, shop: Shop, force: str) -> None:
    sc.register(shop.s1)

    assert_refused(sc.delete(f"microservices/{shop.s1}", force=force), 400013)


def test_059_force_is_true_or_false(sc: ServiceCenter, shop: Shop) -> None:
    answer = sc.delete(f"microservices/{shop.s1}", force="yes")

    assert_refused(answer, 400001, "parameter force must be false or true")


def test_060_an_unknown_service_cannot_be_deleted(sc: ServiceCenter) -> None:
    assert_refused(sc.delete("microservices/nope"), 400012, "Service does not exist.")


def test_060_the_servers_own_service_cannot_be_deleted(sc: ServiceCenter) -> None:
    own = sc.get("health").instances()[0]["serviceId"]

    assert_refused(sc.delete(f"microservices/{own}", force="true"), 400001, "not allow to delete service center")


def test_061_many_are_deleted_with_one_result_each(sc: ServiceCenter, shop: Shop) -> None:
    answer = sc.delete("microservices", {"serviceIds": [shop.s1, "nope", "nope"], "force": True})

    assert answer.status == 200
    results = {result["serviceId"]: result.get("errMessage", "") for result in answer.json()["services"]}
    assert len(answer.json()["services"]) == 2
    assert results == {shop.s1: "", "nope": "Micro-service does not exist(Service does not exist.)"}
    sc.soon(lambda: assert_refused(sc.get(f"microservices/{shop.s1}"), 400012))


def test_061_many_are_deleted_by_force_only(sc: ServiceCenter, shop: Shop) -> None:
    sc.register(shop.s1)
    [result] = sc.delete("microservices", {"serviceIds": [shop.s1]}).json()["services"]

    assert result["serviceId"] == shop.s1
    assert result["errMessage"].startswith("Micro-service has deployed instance(s)(")


def test_061_a_provider_may_go_after_its_consumer(sc: ServiceCenter, shop: Shop) -> None:
    """The original deletes all of a batch side by side: the provider may still have the consumer that goes with it."""
    sc.find(shop.app, "prov", consumer=shop.consumer)

    def is_noted() -> None:
        assert shop.consumer in sc.consumers(shop.s1)

    sc.soon(is_noted)
    results = sc.delete("microservices", {"serviceIds": [shop.consumer, shop.s1]}).json()["services"]

    refused = {one["serviceId"] for one in results if one.get("errMessage")}
    assert (len(results), refused - sc.expected(ours=set[str](), real={shop.s1})) == (2, set())


@pytest.mark.parametrize("body", [{"serviceIds": []}, {}, {"serviceIds": ["a b"]}])
def test_062_deleting_many_needs_good_ids(sc: ServiceCenter, body: dict[str, Any]) -> None:
    assert_refused(sc.delete("microservices", body), 400001)


def test_063_tags_and_instances_may_come_with_the_service(sc: ServiceCenter, app: str) -> None:
    answer = sc.post(
        "microservices",
        {
            "service": {"appId": app, "serviceName": "svc"},
            "tags": {"k1": "v1"},
            "instances": [{"hostName": "with-it", "endpoints": ["rest://10.0.0.1:80"]}],
        },
    )
    assert answer.status == 200, answer.text
    service_id = answer.json()["serviceId"]

    sc.soon(lambda: assert_json(sc.get(f"microservices/{service_id}/tags"), {"tags": {"k1": "v1"}}))

    def is_listed() -> None:
        listed = sc.get(f"microservices/{service_id}/instances").instances()
        assert [instance["hostName"] for instance in listed] == ["with-it"]

    sc.soon(is_listed)


@pytest.mark.parametrize(
    "part",
    [
        pytest.param({"tags": {"1k": "v"}}, id="case063-tags"),
        pytest.param({"instances": [{"hostName": ""}]}, id="case063-instances"),
    ],
)
def test_a_service_stays_when_what_came_with_it_is_refused(sc: ServiceCenter, app: str, part: dict[str, Any]) -> None:
    answer = sc.post("microservices", {"service": {"appId": app, "serviceName": "svc"}, **part})

    assert_refused(answer, 400001, "errMessages: [Invalid parameter(s)(field '")
    key: dict[str, Any] = {"appId": app, "serviceName": "svc", "version": "0.0.1"}

    def exists() -> None:
        assert sc.get("existence", type="microservice", **key).status == 200

    sc.soon(exists)
