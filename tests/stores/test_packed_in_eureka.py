"""ServiceCenter's instances in Eureka's documents: exact there and back, known by their marks, harmless to XML."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from facade.eureka import wire_json
from facade.eureka.records import Action, InstanceInfo
from facade.registry.model import Instance, Microservice, Status, Tenant
from facade.registry.rules import Policy, is_same_but_for_time, shown_status
from facade.servicecenter import mapping
from facade.servicecenter.records import (
    DataCenterInfo,
    FrameWork,
    HealthCheck,
    MicroService,
    MicroServiceInstance,
    ServicePath,
)
from facade.stores.packed_in_eureka import is_packed, pack, seal, unpack, unseal
from tests.eureka.registrations import PLAIN

POLICY = Policy()

words = st.text(st.characters(codec="utf-8"), max_size=20)
names = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,8}[a-zA-Z0-9]", fullmatch=True)
properties = st.dictionaries(
    st.one_of(words, st.sampled_from(["", "a:b", "@class", "version", "zone", "contextPath", "1x"])), words, max_size=4
)
properties = properties.filter(lambda found: not any(key.startswith(("_sc.", "_eureka.", "_bridge.")) for key in found))
endpoints = st.one_of(
    st.builds(
        "rest://10.0.0.{}:{}{}".format,
        st.integers(1, 9),
        st.integers(0, 65535),
        st.sampled_from(["", "?sslEnabled=true"]),
    ),
    st.sampled_from(["highway://10.0.0.1:7070", "rest://[::]:80", "rest://[fe80::1]:80?urlPrefix=/a", "grpc://x", ""]),
    words,
)
statuses = st.sampled_from(["", "UP", "DOWN", "STARTING", "TESTING", "OUTOFSERVICE"])

services = st.builds(
    lambda document, tenant, tags: mapping.to_service(document, tenant, tags, 1_750_000_000_000, POLICY),
    st.builds(
        MicroService,
        app_id=st.sampled_from(["default", "shop", "eureka"]),
        service_name=names,
        version=st.sampled_from(["1.0.0", "0.0.1"]),
        environment=st.sampled_from(["", "production"]),
        description=words,
        level=st.sampled_from(["", "FRONT"]),
        schemas=st.lists(names, max_size=2).map(tuple),
        paths=st.lists(st.builds(ServicePath, path=words, property=properties), max_size=1).map(tuple),
        properties=properties,
        alias=words,
        framework=st.none() | st.builds(FrameWork, name=names, version=names),
    ),
    st.sampled_from([Tenant(), Tenant("acme", "blue.green"), Tenant("a/b", "default")]),
    properties,
)


@st.composite
def instances(draw: st.DrawFn) -> tuple[Instance, Microservice]:
    """As the ServiceCenter room registers them, with what operators said since."""
    service = draw(services)
    document = MicroServiceInstance(
        instance_id=draw(names),
        endpoints=tuple(draw(st.lists(endpoints, max_size=3))),
        host_name=draw(words),
        status=draw(statuses),
        properties=draw(properties),
        health_check=draw(
            st.none()
            | st.builds(
                HealthCheck,
                mode=st.sampled_from(["push", "pull"]),
                interval=st.integers(0, 2**31 - 1),
                times=st.integers(0, 2**31 - 1),
                url=words,
            )
        ),
        data_center_info=draw(st.none() | st.builds(DataCenterInfo, name=names, region=names, available_zone=names)),
    )
    found = mapping.to_instance(
        document, service, document.instance_id, POLICY, draw(st.sampled_from(["", "10.9.9.9"]))
    )
    override = draw(st.none() | st.sampled_from([Status.UP, Status.DOWN, Status.OUT_OF_SERVICE, Status.TESTING]))
    return replace(
        found,
        override=override,
        status=shown_status(found.key.origin, found.reported, override, None),
        dirty_ms=draw(st.sampled_from([0, 1_700_000_000_000])),
        registered_ms=1_750_000_000_000,
        updated_ms=1_750_000_000_123,
    ), service


def listed(info: InstanceInfo) -> InstanceInfo:
    """The same after a journey over the wire."""
    return wire_json.decode_listed(wire_json.encode_instance(replace(info, action=Action.ADDED)))


@given(instances())
def test_the_way_there_and_back_is_exact(packed: tuple[Instance, Microservice]) -> None:
    instance, service = packed

    unpacked = unpack(listed(pack(instance, service)), POLICY)

    assert unpacked is not None
    assert is_same_but_for_time(instance, unpacked[0])
    assert unpacked[1] == service


@given(instances())
def test_no_packed_instance_spoils_the_xml_of_a_server(packed: tuple[Instance, Microservice]) -> None:
    """The real one writes what it is given, and then nobody can read any of it."""
    info = pack(*packed)

    for key, value in info.metadata.items():
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", key)
        ElementTree.fromstring(f"<{key}>{escape(value)}</{key}>")
    texts = [info.host_name, info.ip_addr, info.home_page_url, info.vip_address, info.app]
    ElementTree.fromstring(f"<x>{escape(''.join(text or '' for text in texts))}</x>")


@given(instances())
def test_what_a_server_asks_for_is_never_missing(packed: tuple[Instance, Microservice]) -> None:
    info = pack(*packed)

    assert info.host_name and info.ip_addr and info.app and info.effective_id and info.data_center_info
    assert "/" not in info.app


@given(st.dictionaries(words | st.sampled_from(["_eureka.metadata", "_sc.instance", "@class", "plain"]), words))
def test_metadata_of_eurekas_own_is_sealed_and_unsealed_exactly(metadata: dict[str, str]) -> None:
    info = replace(PLAIN, metadata=metadata)

    sealed = listed(seal(info))

    assert unseal(sealed) == info
    for key, value in sealed.metadata.items():
        ElementTree.fromstring(f"<{key}>{escape(value)}</{key}>")


# Examples

SHOP = MicroService(app_id="shop", service_name="orders", version="1.0.0", service_id="s1")
SERVICE = mapping.to_service(SHOP, Tenant(), {}, 0, POLICY)


def example(service: Microservice = SERVICE, **changes: Any) -> Instance:
    document = MicroServiceInstance(endpoints=("rest://10.0.0.1:80",), host_name="h", properties={"a": "b"})
    found = mapping.to_instance(document, service, "i1", POLICY)
    return replace(found, updated_ms=1_750_000_000_000, **changes)


def test_eureka_clients_find_it_under_its_flat_name_and_address() -> None:
    info = pack(example(), SERVICE)

    assert (info.app, info.vip_address, info.host_name, info.port.number) == (
        "SHOP.ORDERS",
        "shop.orders",
        "10.0.0.1",
        80,
    )
    assert (info.lease_info.renewal_interval_s, info.lease_info.duration_s) == (30, 90)
    assert info.last_dirty_ms == 1_750_000_000_000
    assert info.metadata["a"] == "b"


def test_its_marks_name_its_origin_and_its_id() -> None:
    marks = pack(example(), SERVICE).metadata

    assert (marks["_bridge.origin"], marks["_bridge.id"], marks["_bridge.v"]) == ("servicecenter", "i1", "1")


def test_the_bridge_that_has_written_it_is_named_where_it_has_a_name() -> None:
    assert pack(example(), SERVICE, "blue").metadata["_bridge.cluster"] == "blue"
    assert "_bridge.cluster" not in pack(example(), SERVICE).metadata


def test_marks_that_were_copied_to_another_instance_prove_nothing() -> None:
    info = replace(pack(example(), SERVICE), instance_id="i2")

    assert not is_packed(info)
    assert unpack(info, POLICY) is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"x":' + "[" * 3000,
        '{"healthCheck":{"times":-1}}',
        '{"timestamp":"-1"}',
        '{"status":"ODD"}',
        '{"timestamp":"x"}',
    ],
)
def test_marks_without_a_document_prove_nothing(text: str) -> None:
    info = pack(example(), SERVICE)

    assert unpack(replace(info, metadata=info.metadata | {"_sc.instance": text}), POLICY) is None


def test_sealed_metadata_that_cannot_be_read_stays_as_it_is() -> None:
    info = replace(PLAIN, metadata={"_eureka.metadata": '{"x":' + "[" * 3000})

    assert unseal(info) is info


def test_one_that_speaks_no_http_is_kept_where_no_balancer_finds_it() -> None:
    info = pack(example(endpoints=("highway://10.0.0.1:7070",)), SERVICE)

    assert not info.port.is_enabled and not info.secure_port.is_enabled
    assert info.vip_address is None and info.secure_vip_address is None


@pytest.mark.parametrize(
    ("tenant", "environment", "app"),
    [
        pytest.param(Tenant(), "production", "SHOP.ORDERS@PRODUCTION", id="environment"),
        pytest.param(Tenant("acme", "blue"), "", "SHOP.ORDERS@ACME-BLUE", id="tenant"),
    ],
)
def test_one_of_another_space_has_a_name_that_nobody_asks_for_by_accident(
    tenant: Tenant, environment: str, app: str
) -> None:
    service = mapping.to_service(replace(SHOP, environment=environment), tenant, {}, 0, POLICY)

    info = pack(example(service), service)

    assert (info.app, info.vip_address) == (app, None)


def test_an_operator_at_that_server_sets_an_override() -> None:
    info = replace(pack(example(), SERVICE), status=Status.OUT_OF_SERVICE, overridden_status=Status.OUT_OF_SERVICE)

    unpacked = unpack(info, POLICY)

    assert unpacked is not None
    assert (unpacked[0].status, unpacked[0].override) == (Status.OUT_OF_SERVICE, Status.OUT_OF_SERVICE)
    assert unpacked[0].reported is Status.UP


def test_an_operator_at_that_server_lifts_an_override() -> None:
    """UNKNOWN is what the server shows then, until the owner speaks: we know what the owner said."""
    overridden = example(override=Status.DOWN, status=Status.DOWN)
    info = replace(pack(overridden, SERVICE), status=Status.UNKNOWN, overridden_status=Status.UNKNOWN)

    unpacked = unpack(info, POLICY)

    assert unpacked is not None
    assert (unpacked[0].status, unpacked[0].override) == (Status.UP, None)


def test_an_override_that_names_what_is_shown_is_not_recorded_there_and_stays() -> None:
    overridden = example(override=Status.UP)
    info = replace(pack(overridden, SERVICE), overridden_status=Status.UNKNOWN)

    unpacked = unpack(info, POLICY)

    assert unpacked is not None
    assert unpacked[0].override is Status.UP
