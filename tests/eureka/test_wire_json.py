"""Eureka's JSON, read from what clients really write and written as they insist on reading it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from facade.errors import MalformedDocument
from facade.eureka import wire_json
from facade.eureka.records import Action, DataCenterInfo, InstanceInfo, LeaseInfo, Port
from facade.registry.model import Status
from tests.eureka.registrations import AMAZON_CLASS, DEFAULT_CLASS, PLAIN, body, document, read

FULL = InstanceInfo(
    instance_id="cart-7f9c:cart:8080",
    host_name="cart-7f9c.example.test",
    app="CART",
    ip_addr="10.1.4.17",
    sid="s1",
    status=Status.OUT_OF_SERVICE,
    overridden_status=Status.OUT_OF_SERVICE,
    port=Port(8080, True),
    secure_port=Port(443, False),
    data_center_info=DataCenterInfo("Amazon", {"instance-id": "i-0abc", "availability-zone": "eu-west-1a", "mac": "m"}),
    lease_info=LeaseInfo(30, 90, 11, 12, 13, 14),
    metadata={"zone": "rack-2", "ключ": "snow ❄ 😀"},
    app_group_name="GRP",
    home_page_url="http://h/",
    status_page_url="http://s/",
    health_check_url="http://c/",
    secure_health_check_url="https://c/",
    vip_address="cart",
    secure_vip_address="cart",
    last_updated_ms=1_750_000_000_201,
    last_dirty_ms=1_750_000_000_123,
    action=Action.MODIFIED,
    asg_name="g",
)

WRITTEN = (
    '{"instanceId":"cart-7f9c:cart:8080","hostName":"cart-7f9c.example.test","app":"CART","ipAddr":"10.1.4.17",'
    '"sid":"s1","status":"OUT_OF_SERVICE","overriddenStatus":"OUT_OF_SERVICE","port":{"$":8080,"@enabled":"true"},'
    '"securePort":{"$":443,"@enabled":"false"},"countryId":1,'
    f'"dataCenterInfo":{{"@class":"{AMAZON_CLASS}","name":"Amazon",'
    '"metadata":{"instance-id":"i-0abc","availability-zone":"eu-west-1a","mac":"m"}},'
    '"leaseInfo":{"renewalIntervalInSecs":30,"durationInSecs":90,"registrationTimestamp":11,'
    '"lastRenewalTimestamp":12,"evictionTimestamp":13,"serviceUpTimestamp":14},'
    '"metadata":{"zone":"rack-2","ключ":"snow ❄ 😀"},"appGroupName":"GRP","homePageUrl":"http://h/",'
    '"statusPageUrl":"http://s/","healthCheckUrl":"http://c/","secureHealthCheckUrl":"https://c/",'
    '"vipAddress":"cart","secureVipAddress":"cart","isCoordinatingDiscoveryServer":"false",'
    '"lastUpdatedTimestamp":"1750000000201","lastDirtyTimestamp":"1750000000123","actionType":"MODIFIED",'
    '"asgName":"g"}'
)

COMPACT = (
    '{"instanceId":"cart-7f9c:cart:8080","app":"CART","ipAddr":"10.1.4.17","vipAddress":"cart",'
    f'"secureVipAddress":"cart","dataCenterInfo":{{"@class":"{AMAZON_CLASS}","name":"Amazon",'
    '"metadata":{"instance-id":"i-0abc","availability-zone":"eu-west-1a"}},"hostName":"cart-7f9c.example.test",'
    '"status":"OUT_OF_SERVICE","lastUpdatedTimestamp":1750000000201,"actionType":"MODIFIED","asgName":"g",'
    '"port":{"$":8080,"@enabled":"true"},"securePort":{"$":443,"@enabled":"false"}}'
)


def test_an_instance_is_written_in_the_order_and_types_of_the_original() -> None:
    """Spring's clients reject the whole registry for one key too many; Go's for a number in place of a string."""
    assert wire_json.encode_instance(FULL).decode() == WRITTEN


def test_the_compact_form_has_its_own_order_and_a_number_for_a_timestamp() -> None:
    assert wire_json.encode_compact_instance(FULL).decode() == COMPACT


def test_what_is_not_known_is_left_out_rather_than_null() -> None:
    written = msgspec.json.decode(wire_json.encode_instance(replace(PLAIN, data_center_info=DataCenterInfo("MyOwn"))))

    assert None not in written.values()
    assert written.keys().isdisjoint({"sid", "appGroupName", "asgName", "homePageUrl"})
    assert written["metadata"] == {"@class": "java.util.Collections$EmptyMap"}
    assert written["dataCenterInfo"] == {"@class": DEFAULT_CLASS, "name": "MyOwn"}


# Spring's beans write nulls, numbers and booleans where Netflix writes text.
SPRING: dict[str, Any] = {
    "sid": "na",
    "appGroupName": None,
    "actionType": None,
    "asgName": None,
    "homePageUrl": None,
    "metadata": {"@class": "java.util.Collections$EmptyMap"},
    "isCoordinatingDiscoveryServer": False,
    "lastUpdatedTimestamp": 1750000000000,
    "lastDirtyTimestamp": 1000,
    "countryId": 1,
    "overriddenStatus": "UNKNOWN",
}
FARGO: dict[str, Any] = {
    "port": {"$": "8080", "@enabled": "true"},
    "overriddenstatus": "",
    "countryId": 0,
    "dataCenterInfo": {"name": "MyOwn", "@class": "com.netflix.appinfo.MyDataCenterInfo"},
}
STEELTOE: dict[str, Any] = {
    "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 90, "registrationTimestamp": "0"},
    "dataCenterInfo": {"@class": DEFAULT_CLASS, "name": "Amazon"},
}

CLIENTS = [
    pytest.param({}, PLAIN, id="netflix"),
    pytest.param(SPRING, PLAIN, id="spring-bean"),
    pytest.param(FARGO, replace(PLAIN, country_id=0), id="fargo"),
    pytest.param(STEELTOE, replace(PLAIN, data_center_info=DataCenterInfo("Amazon")), id="steeltoe-poison"),
    pytest.param({"app": "a"}, PLAIN, id="eureka-js-client-lower-case"),
]


@pytest.mark.parametrize(("changes", "record"), CLIENTS)
def test_what_clients_write(changes: dict[str, Any], record: InstanceInfo) -> None:
    assert read(**changes) == record


ODD_FIELDS = [
    pytest.param({"port": {"$": "8080", "@enabled": True}}, {}, id="port-text-and-boolean"),
    pytest.param({"port": {"$": 8080.9, "@enabled": 1}}, {}, id="port-fraction-and-number"),
    pytest.param({"port": {"$": 8080, "@enabled": "TRUE"}}, {"port": Port(8080, False)}, id="enabled-exactly-true"),
    pytest.param({"port": {"$": "x", "@enabled": None}}, {"port": Port(0, False)}, id="port-garbage"),
    pytest.param({"port": {}}, {"port": Port(7001, True)}, id="port-empty"),
    pytest.param({"port": None}, {"port": Port(7001, True)}, id="port-null"),
    pytest.param({"port": {"$": -1, "@enabled": "true"}}, {"port": Port(-1, True)}, id="port-negative"),
    pytest.param({"securePort": {}}, {"secure_port": Port(7002, False)}, id="secure-port-empty"),
    pytest.param({"status": "up"}, {"status": Status.UNKNOWN}, id="status-lower-case"),
    pytest.param({"status": 5}, {"status": Status.UNKNOWN}, id="status-number"),
    pytest.param({"status": {"a": []}}, {"status": Status.UNKNOWN}, id="status-object"),
    pytest.param({"status": "TESTING"}, {"status": Status.UNKNOWN}, id="status-of-the-other-protocol"),
    pytest.param({"status": None}, {}, id="status-null"),
    pytest.param({"overriddenstatus": "DOWN"}, {"overridden_status": Status.DOWN}, id="override-old-spelling"),
    pytest.param(
        {"overriddenStatus": "UP", "overriddenstatus": "DOWN"}, {"overridden_status": Status.DOWN}, id="override-later"
    ),
    pytest.param(
        {"overriddenstatus": "DOWN", "overriddenStatus": "UP"}, {"overridden_status": Status.UP}, id="override-last"
    ),
    pytest.param({"countryId": "7"}, {"country_id": 7}, id="country-text"),
    pytest.param({"countryId": "x"}, {"country_id": 0}, id="country-garbage"),
    pytest.param({"countryId": ""}, {"country_id": 0}, id="country-empty"),
    pytest.param({"lastDirtyTimestamp": "abc"}, {"last_dirty_ms": 0}, id="timestamp-garbage"),
    pytest.param({"lastDirtyTimestamp": None}, {"last_dirty_ms": None}, id="timestamp-null"),
    pytest.param({"lastDirtyTimestamp": 10**30}, {"last_dirty_ms": 0}, id="timestamp-huge"),
    pytest.param({"sid": "unknown"}, {}, id="sid-unknown"),
    pytest.param({"appGroupName": "grp"}, {"app_group_name": "GRP"}, id="group-upper-cased"),
    pytest.param({"vipAddress": 5}, {"vip_address": "5"}, id="number-for-text"),
    pytest.param({"leaseInfo": {"durationInSecs": 0, "renewalIntervalInSecs": -5}}, {}, id="lease-not-positive"),
    pytest.param({"leaseInfo": {"durationInSecs": "45"}}, {"lease_info": LeaseInfo(duration_s=45)}, id="lease-text"),
    pytest.param(
        {"leaseInfo": {"durationInSecs": 10**12}}, {"lease_info": LeaseInfo(duration_s=2_147_483)}, id="lease-clamped"
    ),
    pytest.param({"leaseInfo": {"registrationTimestamp": 5, "x": {"y": 1}}}, {}, id="lease-timestamps-are-ours"),
    pytest.param(
        {"metadata": {"a": 1, "b": True, "c": None, "@class": "z"}},
        {"metadata": {"a": "1", "b": "true", "c": "null"}},
        id="metadata-scalars",
    ),
    pytest.param({"metadata": {"a": {"b": [1.5]}}}, {"metadata": {"a": '{"b":[1.5]}'}}, id="metadata-nested"),
    pytest.param({"actionType": "DELETED"}, {}, id="action-is-ours"),
    pytest.param({"foo": "bar", "bar": [], "baz": [{"a": 1}], "qux": {"hostName": "h2"}}, {}, id="unknown-fields"),
    pytest.param(
        {"dataCenterInfo": {"name": "Netflix"}}, {"data_center_info": DataCenterInfo("Netflix")}, id="no-class"
    ),
    pytest.param({"dataCenterInfo": {"@class": DEFAULT_CLASS}}, {"data_center_info": DataCenterInfo()}, id="no-name"),
    pytest.param(
        {"dataCenterInfo": {"@class": DEFAULT_CLASS, "name": "MyOwn", "metadata": {"a": "b"}}},
        {},
        id="metadata-misplaced",
    ),
    pytest.param(
        {"dataCenterInfo": {"metadata": {"instance-id": "i-1"}, "@class": AMAZON_CLASS, "name": "whatever"}},
        {"data_center_info": DataCenterInfo("Amazon", {"instance-id": "i-1"})},
        id="amazon-any-order",
    ),
    pytest.param(
        {"dataCenterInfo": {"@class": AMAZON_CLASS}}, {"data_center_info": DataCenterInfo("Amazon")}, id="amazon-bare"
    ),
]


@pytest.mark.parametrize(("changes", "expected"), ODD_FIELDS)
def test_odd_values_are_coerced_as_the_original_does(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read(**changes) == replace(PLAIN, **expected)


def test_a_number_in_metadata_keeps_its_literal_text() -> None:
    """P2: a cast would make 1.10 a 1.1."""
    text = body().replace(b'"vipAddress"', b'"metadata":{"version":1.10,"big":1e400},"vipAddress"')

    assert wire_json.decode_registration(text).metadata == {"version": "1.10", "big": "1e400"}


NAMED = [
    pytest.param({"port": 8080}, "port: expected", id="port-bare-number"),
    pytest.param({"port": {"$": 1, "x": 2}}, "port: expected", id="port-third-key"),
    pytest.param({"port": {"$": 99999999999}}, "port: 99999999999 is no port", id="port-beyond-32-bits"),
    pytest.param({"securePort": "443"}, "securePort: expected", id="secure-port-text"),
    pytest.param({"metadata": []}, "metadata: expected an object, got []", id="metadata-array"),
    pytest.param({"metadata": "x"}, "metadata: expected an object", id="metadata-text"),
    pytest.param({"leaseInfo": []}, "leaseInfo: expected an object", id="lease-array"),
    pytest.param({"dataCenterInfo": "MyOwn"}, "dataCenterInfo: expected an object", id="data-center-text"),
    pytest.param(
        {"dataCenterInfo": {"@class": "com.example.Evil", "name": "MyOwn"}}, "dataCenterInfo.@class", id="class"
    ),
    pytest.param({"dataCenterInfo": {"@class": ["x"], "name": "MyOwn"}}, "dataCenterInfo.@class", id="class-array"),
    pytest.param({"dataCenterInfo": {"@class": DEFAULT_CLASS, "name": "Azure"}}, "dataCenterInfo.name", id="name"),
    pytest.param({"hostName": {"a": 1}}, "hostName: expected text", id="object-for-text"),
    pytest.param({"hostName": [0.5]}, "hostName: expected text, got [0.5]", id="fraction-inside"),
]


@pytest.mark.parametrize(("changes", "text"), NAMED)
def test_what_cannot_be_read_is_named(changes: dict[str, Any], text: str) -> None:
    """eureka-js-client prints the body of a 400: its users then know what to change."""
    with pytest.raises(MalformedDocument) as refused:
        read(**changes)

    assert text in str(refused.value)


HOPELESS = [
    pytest.param(b"", id="empty"),
    pytest.param(b"{}", id="no-root"),
    pytest.param(b"[]", id="array"),
    pytest.param(b'"x"', id="text"),
    pytest.param(b"null", id="null"),
    pytest.param(b'{"instance":[]}', id="root-array"),
    pytest.param(b'{"instance":null}', id="root-null"),
    pytest.param(b'{"instance":{"app":"A"},"x":1}', id="two-roots"),
    pytest.param(b'{"instance":{}}', id="no-app"),
    pytest.param(b'{"instance":{"app":null}}', id="app-null"),
    pytest.param(body()[:-5], id="truncated"),
    pytest.param(b'{"instance":{"app":"A","metadata":{"a":NaN}}}', id="nan"),
    pytest.param(b'{"instance":{"app":"\\ud800"}}', id="lone-surrogate"),
    pytest.param(b'{"instance":{"app":"\xff"}}', id="not-utf-8"),
    pytest.param(b'{"instance":' + b"[" * 100_000, id="deep-arrays"),
    pytest.param(b'{"a":' * 100_000, id="deep-objects"),
    pytest.param(b'{"instance":{"app":"A","x":' + b"9" * 5_000 + b"}}", id="huge-number"),
]


@pytest.mark.parametrize("text", HOPELESS)
def test_what_is_no_registration_is_refused_without_details(text: bytes) -> None:
    """Clients and tests compare the original's exact body for these."""
    with pytest.raises(MalformedDocument, match=r"^$"):
        wire_json.decode_registration(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"\xef\xbb\xbf" + body(), id="byte-order-mark"),
        pytest.param(body() + b" trailing", id="text-after"),
        pytest.param(body() + b'{"instance":', id="another-document-after"),
        pytest.param(body() + b"\xff", id="garbage-after"),
    ],
)
def test_what_stands_around_the_document_is_ignored(text: bytes) -> None:
    assert wire_json.decode_registration(text) == PLAIN


words = st.text(st.characters(codec="utf-8"))
infos = st.builds(
    InstanceInfo,
    instance_id=words,
    host_name=words,
    app=st.sampled_from(["A", "ÜBER", "A B"]),
    ip_addr=words,
    status=st.sampled_from([Status.UP, Status.DOWN, Status.UNKNOWN]),
    overridden_status=st.sampled_from([Status.UNKNOWN, Status.OUT_OF_SERVICE]),
    port=st.builds(Port, st.integers(-(2**31), 2**31 - 1), st.booleans()),
    secure_port=st.builds(Port, st.integers(0, 65535), st.booleans()),
    data_center_info=st.one_of(
        st.just(DataCenterInfo("MyOwn")), st.builds(DataCenterInfo, st.just("Amazon"), st.dictionaries(words, words))
    ),
    metadata=st.dictionaries(words.filter(lambda key: key != "@class"), words),
    home_page_url=st.none() | words,
    vip_address=st.none() | words,
    last_dirty_ms=st.integers(0, 2**62),
)


@given(infos)
def test_what_is_written_reads_back_the_same(info: InstanceInfo) -> None:
    written = b'{"instance":%b}' % wire_json.encode_instance(info)

    assert wire_json.decode_registration(written) == info


def test_a_batch_is_read_item_by_item() -> None:
    items = [
        {
            "appName": "A",
            "id": "i1",
            "lastDirtyTimestamp": 5,
            "status": "UP",
            "instanceInfo": document(),
            "action": "Register",
        },
        {"appName": "A", "id": "i1", "overriddenStatus": "DOWN", "status": "nonsense", "action": "Heartbeat"},
    ]

    register, heartbeat = wire_json.decode_batch(msgspec.json.encode({"replicationList": items}))

    assert (register.action, register.last_dirty_ms, register.instance_info) == ("Register", 5, PLAIN)
    assert (heartbeat.overridden_status, heartbeat.status, heartbeat.instance_info) == (Status.DOWN, None, None)


@pytest.mark.parametrize("text", [b"", b"{}", b"null", b'{"replicationList":null}', b'{"replicationList":[1]}'])
def test_what_is_no_batch_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedDocument):
        wire_json.decode_batch(text)


def test_whatever_is_nested_is_read_or_refused() -> None:
    """Writing what is kept as text goes less deep than reading it."""
    for depth in range(800, 1000):
        nested = b"[" * depth + b"]" * depth
        with suppress(MalformedDocument):
            wire_json.decode_listed(b'{"app":"A","metadata":{"k":%b}}' % nested)
