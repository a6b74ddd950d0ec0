"""Registrations and records: exact there and back, and a projection for those born in the other protocol."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace

from facade.eureka import mapping
from facade.eureka.records import Action, DataCenterInfo, InstanceInfo, LeaseInfo, Port
from facade.eureka.wire import RegistrationRefused
from facade.registry.model import DataCentre, Instance, LeaseTerms, ServiceKey, Space, Status
from facade.registry.rules import Policy
from tests.eureka.registrations import AMAZON_CLASS, NOW_MS, PLAIN, instance, read
from tests.eureka.test_wire_json import infos
from tests.registry.records import qualified, service

POLICY = Policy()


def shown(instance: Instance, **arguments: Any) -> InstanceInfo:
    info = mapping.from_instance(instance, **arguments)
    assert info is not None
    return info


# Checks

CHECKS = [
    pytest.param({"without": ["instanceId", "hostName"]}, "Missing instanceId", id="case037"),
    pytest.param({"hostName": ""}, "Missing hostname", id="case038"),
    pytest.param({"without": ["ipAddr"]}, "Missing ip address", id="case039"),
    pytest.param({"ipAddr": ""}, "Missing ip address", id="case039-empty"),
    pytest.param({"app": ""}, "Missing appName", id="case040"),
    pytest.param({"app": "B"}, "Mismatched appName, expecting A but was B", id="case035"),
    pytest.param({"without": ["dataCenterInfo"]}, "Missing dataCenterInfo", id="case041"),
    pytest.param({"dataCenterInfo": {"name": None}}, "Missing dataCenterInfo Name", id="case042"),
    pytest.param({"hostName": "", "ipAddr": "", "app": ""}, "Missing hostname", id="the-first-counts"),
]


@pytest.mark.parametrize(("changes", "text"), CHECKS)
def test_what_no_client_could_use_is_refused_in_the_words_of_the_original(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(RegistrationRefused, match=f"^{text}$"):
        mapping.check(read(**changes), "A")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, "i1", id="own"),
        pytest.param({"without": ["instanceId"]}, "h1", id="case036-host"),
        pytest.param({"instanceId": ""}, "h1", id="case036-fargo"),
        pytest.param(
            {"without": ["instanceId"], "dataCenterInfo": {"@class": AMAZON_CLASS, "metadata": {"instance-id": "i-1"}}},
            "i-1",
            id="case049-amazon",
        ),
    ],
)
def test_the_effective_id_is_the_one_that_heartbeats_use(changes: dict[str, Any], expected: str) -> None:
    record = instance(**changes)

    assert record.key.instance_id == expected
    assert shown(record).instance_id == expected


# Born here


def test_a_registration_as_a_record() -> None:
    """The figures of the guide's account-server, in the words of both protocols."""
    record = instance(
        "ACCOUNT-SERVER", "10.0.0.10:account-server:8090", vipAddress="account-server", metadata={"zone": "eu-1a"}
    )

    assert record.service == ServiceKey("default", "default", "", "eureka", "account-server", "0.0.1")
    assert record.service.derived_id == "80784229255ec96d90353e3c041bdf3586fdbbae"
    assert (record.application, record.host, record.dirty_ms) == ("ACCOUNT-SERVER", "h1", 1000)
    assert record.endpoints == ("rest://10.0.0.1:8080",)
    assert record.metadata == {"zone": "eu-1a"}
    assert record.data_centre == DataCentre("MyOwn", "eu-1", "eu-1a")
    assert (record.status, record.reported, record.override) == (Status.UP, Status.UP, None)
    assert record.lease == LeaseTerms(30_000, 90_000, 180_000)


def test_portable_ids_differ_between_applications() -> None:
    """P10: an id is unique only within its application."""
    ids = {instance("A", "i1").portable_id, instance("B", "i1").portable_id, instance("A", "i2").portable_id}

    assert len(ids) == 3
    assert all(len(found) == 32 and found.isalnum() for found in ids)


@given(infos)
def test_a_registration_is_shown_exactly_as_it_came(info: InstanceInfo) -> None:
    """P8: Amazon's metadata, sid, group, URLs, timestamps: nothing is lost."""
    info = replace(info, metadata={key: value for key, value in info.metadata.items() if key[0:1] not in "_"})
    record = mapping.to_instance(info, Space(), POLICY, NOW_MS)
    expected = replace(info, instance_id=info.effective_id, last_updated_ms=0, action=Action.ADDED)
    centre = info.data_center_info
    if centre is not None and centre.is_amazon:
        full = {"instance-id": info.effective_id} | centre.metadata
        expected = replace(expected, data_center_info=replace(centre, metadata=full))

    assert replace(shown(record), lease_info=info.lease_info) == expected


def test_amazon_gets_the_id_that_its_metadata_lacks() -> None:
    """Case 50."""
    record = instance(dataCenterInfo={"@class": AMAZON_CLASS, "metadata": {"availability-zone": "eu-west-1a"}})

    expected = DataCenterInfo("Amazon", {"availability-zone": "eu-west-1a", "instance-id": "i1"})
    assert shown(record).data_center_info == expected
    assert record.data_centre == DataCentre("Amazon", "eu-west-1", "eu-west-1a")


ENDPOINTS = [
    pytest.param({}, ("rest://10.0.0.1:8080",), id="plain"),
    pytest.param(
        {"securePort": {"$": 8443, "@enabled": "true"}},
        ("rest://10.0.0.1:8443?sslEnabled=true",),
        id="secure-preferred",
    ),
    pytest.param({"ipAddr": "fe80::1"}, ("rest://[fe80::1]:8080",), id="ipv6"),
    pytest.param({"port": {"$": 8080, "@enabled": "false"}}, (), id="none"),
]


@pytest.mark.parametrize(("changes", "expected"), ENDPOINTS)
def test_there_is_one_endpoint(changes: dict[str, Any], expected: tuple[str, ...]) -> None:
    """go-chassis takes the last of several, spring-cloud-huawei the first."""
    assert instance(**changes).endpoints == expected


@pytest.mark.parametrize(
    ("app", "vip", "expected"),
    [
        ("ORDERS", "orders", "orders"),
        ("ORDERS", "Orders", "Orders"),
        ("ORDERS", "other", "orders"),
        ("ORDERS", "orders,more", "orders"),
        ("A B", "x", "a-b-8aabb8"),
        ("-", "x", "app-3bc15c"),
    ],
)
def test_the_natural_name(app: str, vip: str, expected: str) -> None:
    assert instance(app, vipAddress=vip).service.name == expected


def test_reserved_keys_are_not_taken_from_clients() -> None:
    """Otherwise anybody could claim to be a copy of something else."""
    assert instance(metadata={"_sc.appId": "x", "_bridge.id": "y", "_eureka.id": "z", "_own": "w"}).metadata == {
        "_own": "w"
    }


@pytest.mark.parametrize(("is_exact", "renewed_ms"), [(False, 90_000), (True, 45_000)])
def test_a_renewed_lease_lives_twice_its_duration_unless_leases_are_exact(is_exact: bool, renewed_ms: int) -> None:
    terms = mapping.to_lease_terms(LeaseInfo(10, 45), Policy(exact_leases=is_exact))

    assert terms == LeaseTerms(10_000, 45_000, renewed_ms)


def test_new_metadata_leaves_the_rest_alone() -> None:
    """P1: ports, VIP and host name once were lost with it."""
    record = instance(metadata={"a": "1", "zone": "eu-1a"})

    changed = mapping.with_metadata(record, {"b": "2", "zone": "us-1b"})

    assert changed.metadata == {"a": "1", "b": "2", "zone": "us-1b"}
    assert changed.data_centre == DataCentre("MyOwn", "us-1", "us-1b")
    assert replace(shown(changed), metadata={}) == replace(shown(record), metadata={})
    assert mapping.with_metadata(record, {"a": "1"}) is record


def test_an_ended_instance_says_when() -> None:
    info = shown(instance(), action=Action.DELETED, ended_ms=NOW_MS)

    assert (info.action, info.lease_info.evicted_ms, info.last_updated_ms) == (Action.DELETED, NOW_MS, NOW_MS)


# Born in ServiceCenter

ORDERS = service("orders", "shop", "1.2.3", environment="production")
BORN_ELSEWHERE = qualified(ORDERS, "a1", endpoints=("grpc://10.0.0.9:1", "rest://10.0.0.9:9090"))


def test_an_instance_of_a_microservice_as_a_spring_client_needs_it() -> None:
    record = replace(
        BORN_ELSEWHERE,
        metadata={"weight": "3"},
        updated_ms=NOW_MS,
        registered_ms=NOW_MS - 5,
        data_centre=DataCentre("dc", "eu", "eu-1a"),
    )

    assert shown(record) == InstanceInfo(
        instance_id="a1",
        host_name="10.0.0.9",
        app="SHOP.ORDERS",
        ip_addr="10.0.0.9",
        port=Port(9090, True),
        secure_port=Port(443, False),
        data_center_info=DataCenterInfo("MyOwn"),
        lease_info=LeaseInfo(30, 90, NOW_MS - 5, NOW_MS - 5, 0, NOW_MS - 5),
        metadata={
            "zone": "eu-1a",
            "region": "eu",
            "version": "1.2.3",
            "weight": "3",
            "_sc.appId": "shop",
            "_sc.serviceId": ORDERS.key.service_id,
            "_sc.endpoints": '["grpc://10.0.0.9:1","rest://10.0.0.9:9090"]',
            "_sc.env": "production",
            "_sc.hostName": "a1",
        },
        home_page_url="http://10.0.0.9:9090/",
        vip_address="shop.orders",
        secure_vip_address="shop.orders",
        last_updated_ms=NOW_MS,
        last_dirty_ms=NOW_MS,
    )


PROJECTED = [
    pytest.param(["rest://1.2.3.4:80"], ("1.2.3.4", Port(80, True), Port(443, False)), id="plain"),
    pytest.param(
        ["rest://1.2.3.4:81?sslEnabled=true", "rest://1.2.3.4:80"],
        ("1.2.3.4", Port(80, True), Port(81, True)),
        id="both",
    ),
    pytest.param(
        ["rest://1.2.3.4:81?sslEnabled=true"], ("1.2.3.4", Port(81, False), Port(81, True)), id="secure-alone"
    ),
    pytest.param(["rest://[fe80::1]:80"], ("[fe80::1]", Port(80, True), Port(443, False)), id="ipv6"),
    pytest.param(["rest://0.0.0.0:80"], ("192.0.2.7", Port(80, True), Port(443, False)), id="any-address"),
    pytest.param(["rest://[::]:80"], ("192.0.2.7", Port(80, True), Port(443, False)), id="any-ipv6-address"),
]


@pytest.mark.parametrize(("endpoints", "expected"), PROJECTED)
def test_addresses_come_from_endpoints(endpoints: list[str], expected: tuple[str, Port, Port]) -> None:
    """Spring connects to hostName, so that is the endpoint's host and not the machine's name."""
    info = shown(replace(BORN_ELSEWHERE, endpoints=tuple(endpoints), source_address="192.0.2.7"))

    assert (info.host_name, info.port, info.secure_port) == expected


HIDDEN = [
    pytest.param((), id="pure-consumer"),
    pytest.param(("grpc://1.2.3.4:80", "highway://1.2.3.4:81"), id="no-http"),
    pytest.param(("rest://1.2.3.4",), id="no-port"),
    pytest.param(("rest://1.2.3.4:99999",), id="no-such-port"),
    pytest.param(("rest://0.0.0.0:80",), id="from-nowhere"),
    pytest.param(("rest://[::", "nonsense"), id="no-url"),
]


@pytest.mark.parametrize("endpoints", HIDDEN)
def test_what_no_http_client_could_call_is_hidden(endpoints: tuple[str, ...]) -> None:
    assert mapping.from_instance(replace(BORN_ELSEWHERE, endpoints=endpoints, source_address="")) is None


def test_the_registry_itself_is_never_exported() -> None:
    own = replace(BORN_ELSEWHERE, service=ORDERS.name._replace(name="SERVICECENTER"))

    assert mapping.from_instance(own) is None


def test_a_path_prefix_is_told() -> None:
    info = shown(replace(BORN_ELSEWHERE, endpoints=("rest://1.2.3.4:80?urlPrefix=/shop/v1",)))

    assert info.home_page_url == "http://1.2.3.4:80/shop/v1/"
    assert info.metadata["contextPath"] == "/shop/v1"


def test_testing_is_out_of_service_here() -> None:
    """Eureka has no such word, and Spring's clients reject the registry for one they do not know."""
    info = shown(replace(BORN_ELSEWHERE, status=Status.TESTING))

    assert (info.status, info.metadata["_sc.status"]) == (Status.OUT_OF_SERVICE, "TESTING")


def test_a_plain_app_is_called_by_its_bare_name() -> None:
    """N6."""
    info = shown(replace(BORN_ELSEWHERE, application="ORDERS"))

    assert (info.app, info.vip_address) == ("ORDERS", "orders")


def test_projected_and_native_share_an_address() -> None:
    """N10: one thing registered in both worlds is recognised by it."""
    native = shown(instance(hostName="a1", ipAddr="10.0.0.9", port={"$": 9090, "@enabled": "true"}))

    assert mapping.addresses(native) & mapping.addresses(shown(BORN_ELSEWHERE))
    assert not mapping.addresses(PLAIN) & mapping.addresses(shown(BORN_ELSEWHERE))
