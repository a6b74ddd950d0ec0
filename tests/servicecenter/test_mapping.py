"""Documents <> records: exact for instances born here, a projection for those born under a flat name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from facade.registry.model import DataCentre, LeaseTerms, ServiceKey, Status, Tenant
from facade.registry.rules import Policy
from facade.servicecenter import mapping
from facade.servicecenter.records import (
    DataCenterInfo,
    FrameWork,
    HealthCheck,
    MicroService,
    MicroServiceInstance,
    ServicePath,
)
from tests.registry.records import flat, service

TENANT = Tenant()
TEXTS = st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda key: key[0] != "_"), st.text(max_size=8))
STATUSES = st.sampled_from(["UP", "DOWN", "STARTING", "TESTING", "OUTOFSERVICE"])
INSTANCES = st.builds(
    MicroServiceInstance,
    endpoints=st.lists(st.text(min_size=1)).map(tuple),
    host_name=st.text(min_size=1),
    status=STATUSES,
    properties=TEXTS,
    health_check=st.builds(
        HealthCheck,
        mode=st.just("push"),
        interval=st.integers(5, 2**31 - 1),
        times=st.integers(3, 2**31 - 1),
        port=st.integers(0, 65535),
        url=st.text(),
    ),
    data_center_info=st.none()
    | st.builds(DataCenterInfo, name=st.just("n"), region=st.just("r"), available_zone=st.just("z")),
)


@given(INSTANCES)
def test_an_instance_born_here_comes_back_as_it_was_registered(document: MicroServiceInstance) -> None:
    orders = service()

    instance = mapping.to_instance(document, orders, "i1", Policy())

    shown = mapping.from_instance(instance, orders.key.service_id, "1.0.0")
    stamped = {"instance_id": "i1", "service_id": orders.key.service_id, "version": "1.0.0"}
    assert shown == replace(document, timestamp="0", mod_timestamp="0", **stamped)


@pytest.mark.parametrize(
    ("stated", "kept", "lasts_s"),
    [
        pytest.param(None, HealthCheck(mode="push", interval=30, times=3), 120, id="go-chassis-states-none"),
        pytest.param(HealthCheck(mode="push", interval=15, times=3), None, 60, id="java-chassis-3"),
        pytest.param(
            HealthCheck(mode="push", interval=1, times=1),
            HealthCheck(mode="push", interval=5, times=3),
            20,
            id="raised-to-the-least",
        ),
        pytest.param(
            HealthCheck(mode="pull", interval=7, times=9, port=80),
            HealthCheck(mode="pull", interval=30, times=3, port=80),
            120,
            id="pull-is-fixed",
        ),
    ],
)
def test_a_lease_lasts_its_interval_once_more_than_it_may_be_missed(
    stated: HealthCheck | None, kept: HealthCheck | None, lasts_s: int
) -> None:
    document = MicroServiceInstance(host_name="h", health_check=stated)

    instance = mapping.to_instance(document, service(), "i1", Policy())

    assert mapping.from_instance(instance, "s", "1").health_check == (kept or stated)
    assert (instance.lease.first_ms, instance.lease.renewed_ms) == (lasts_s * 1000, lasts_s * 1000)


def test_the_longest_lease_still_fits_a_store() -> None:
    most = HealthCheck(mode="push", interval=2**31 - 1, times=2**31 - 1)

    lease = mapping.to_instance(MicroServiceInstance(host_name="h", health_check=most), service(), "i", Policy()).lease

    assert lease.first_ms < 2**63


def test_marks_of_our_own_are_not_taken_from_clients() -> None:
    document = MicroServiceInstance(host_name="h", properties={"_eureka.app": "X", "_sc.appId": "Y", "zone": "z"})

    assert mapping.to_instance(document, service(), "i", Policy()).metadata == {"zone": "z"}


def test_an_instance_with_a_flat_name_shows_its_metadata_and_what_has_no_other_place() -> None:
    """docs/mapping.md 5.2: one endpoint, metadata as properties, the derived id, whole seconds."""
    instance = flat(
        "ACCOUNT-SERVER",
        "10.0.0.10:account-server:8090",
        portable_id="ab12",
        host="10.0.0.10",
        endpoints=("rest://10.0.0.10:8090",),
        metadata={"version": "1.10"},
        data_centre=DataCentre("MyOwn", "eu", "eu-1"),
        registered_ms=1_700_000_000_999,
        updated_ms=1_700_000_005_000,
    )

    assert mapping.from_instance(instance, "face-id", "0.0.1") == MicroServiceInstance(
        instance_id="ab12",
        service_id="face-id",
        endpoints=("rest://10.0.0.10:8090",),
        host_name="10.0.0.10",
        status="UP",
        properties={
            "version": "1.10",
            "_eureka.app": "ACCOUNT-SERVER",
            "_eureka.instanceId": "10.0.0.10:account-server:8090",
        },
        health_check=HealthCheck(mode="push", interval=30, times=3),
        timestamp="1700000000",
        data_center_info=DataCenterInfo(name="MyOwn", region="eu", available_zone="eu-1"),
        mod_timestamp="1700000005",
        version="0.0.1",
    )


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (Status.UP, "UP"),
        (Status.DOWN, "DOWN"),
        (Status.STARTING, "STARTING"),
        (Status.OUT_OF_SERVICE, "OUTOFSERVICE"),
        (Status.TESTING, "TESTING"),
        (Status.UNKNOWN, "DOWN"),
    ],
)
def test_every_status_has_a_word(status: Status, shown: str) -> None:
    assert mapping.from_status(status) == shown


def test_an_unknown_status_and_an_override_are_told_in_the_properties() -> None:
    drained = flat(status=Status.UNKNOWN, override=Status.OUT_OF_SERVICE)

    properties = mapping.from_instance(drained, "s", "1").properties

    assert (properties["_eureka.status"], properties["_eureka.overriddenStatus"]) == ("UNKNOWN", "OUT_OF_SERVICE")


@pytest.mark.parametrize(
    ("interval_s", "lasts_s", "times"), [(30, 90, 3), (10, 25, 3), (5, 5, 1)], ids=["default", "rounded-up", "once"]
)
def test_flat_lease_terms_become_a_number_of_missed_heartbeats(interval_s: int, lasts_s: int, times: int) -> None:
    terms = LeaseTerms(interval_s * 1000, lasts_s * 1000, 2 * lasts_s * 1000)

    health_check = mapping.from_instance(flat(lease=terms), "s", "1").health_check

    assert health_check == HealthCheck(mode="push", interval=interval_s, times=times)


SERVICES: list[Any] = [
    MicroService(service_name="orders"),
    MicroService(
        service_name="orders",
        app_id="shop",
        version="1.2",
        environment="testing",
        description="d",
        level="FRONT",
        schemas=("a", "b"),
        paths=(ServicePath(path="/p"),),
        status="DOWN",
        properties={"k": "v"},
        alias="shop:orders",
        lb_strategy={"a": "b"},
        register_by="SDK",
        framework=FrameWork(name="f", version="1"),
    ),
]


@pytest.mark.parametrize("document", SERVICES, ids=["least", "most"])
def test_a_service_comes_back_as_it_was_created(document: MicroService) -> None:
    stored = mapping.to_service(document, TENANT, {}, 1_700_000_000_000, Policy())

    defaults = {"app_id": "default", "version": "0.0.1", "level": "BACK", "status": "UP"}
    stated = {name: getattr(document, name) or value for name, value in defaults.items()}
    times = {"timestamp": "1700000000", "mod_timestamp": "1700000000"}
    assert mapping.from_service(stored) == replace(document, service_id=stored.key.service_id, **times, **stated)


@pytest.mark.parametrize(
    ("environment", "version", "service_id"),
    [
        ("development", "1.0.0", "cf2f5cbbc44e7219388bce34daa41cf7d4834e03"),
        ("", "", "8ef9d644842988a427357b8f4488ea0d0b2b5e77"),
    ],
)
def test_ids_are_those_of_a_real_servicecenter(environment: str, version: str, service_id: str) -> None:
    """The vectors of the protocol file, measured on v2.2.0."""
    document = MicroService(service_name="calculator", environment=environment, version=version)

    assert mapping.to_service(document, TENANT, {}, 0, Policy()).key.service_id == service_id


def test_a_face_implies_a_service_that_every_app_may_use() -> None:
    key = ServiceKey("default", "default", "", "eureka", "account-server", "0.0.1")

    implied = mapping.from_service(mapping.implied_service(key, Policy(), 1_700_000_000_000))

    assert implied == MicroService(
        service_id="80784229255ec96d90353e3c041bdf3586fdbbae",
        app_id="eureka",
        service_name="account-server",
        version="0.0.1",
        level="BACK",
        status="UP",
        properties={"allowCrossApp": "true"},
        timestamp="1700000000",
        alias="eureka:account-server",
        mod_timestamp="1700000000",
        register_by="PLATFORM",
        framework=FrameWork(name="eureka", version="0.0.1"),
    )


@pytest.mark.parametrize(
    ("provider", "is_open"),
    [
        (service("p", app="shop"), True),
        (service("p", app="bank"), False),
        (service("p", app="bank", properties={"allowCrossApp": "True"}), True),
        (service("p", app="shop", environment="testing"), False),
        (service("p", app="bank", environment="testing", properties={"allowCrossApp": "true"}), False),
    ],
    ids=["same-app", "other-app", "opened", "other-environment", "opened-elsewhere"],
)
def test_who_may_see_whom(provider: Any, is_open: bool) -> None:
    assert mapping.is_open_to(service("c", app="shop").name, provider) is is_open
