"""Registration: what is stored, under which name and id (cases 30-42, 81-89)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest

from conformance.eureka.client import DATA_CENTER_CLASS, JSON, NO_METADATA, Eureka, hash_of, registration
from conformance.eureka.conftest import Expected, Refused

# The order in which the original writes an instance; keys without a value are left out.
KEY_ORDER = [
    *("instanceId", "hostName", "app", "ipAddr", "sid", "status", "overriddenStatus", "port", "securePort"),
    *("countryId", "dataCenterInfo", "leaseInfo", "metadata", "appGroupName", "homePageUrl", "statusPageUrl"),
    *("healthCheckUrl", "secureHealthCheckUrl", "vipAddress", "secureVipAddress", "isCoordinatingDiscoveryServer"),
    *("lastUpdatedTimestamp", "lastDirtyTimestamp", "actionType", "asgName"),
]
EVERY_OPTIONAL = {
    "sid": "s1",
    "appGroupName": "GRP",
    "homePageUrl": "http://h1/",
    "statusPageUrl": "http://h1/info",
    "healthCheckUrl": "http://h1/health",
    "secureHealthCheckUrl": "https://h1/health",
    "secureVipAddress": "s1",
    "asgName": "asg",
}


def test_030_a_registration_is_read_back(eureka: Eureka, app: str) -> None:
    answer = eureka.register(app)

    assert (answer.status_code, answer.content) == (204, b"")
    instance = eureka.instance(app)
    leased = instance.pop("leaseInfo")
    updated = instance.pop("lastUpdatedTimestamp")
    assert leased
    assert updated.isdecimal()
    assert instance == {
        "instanceId": "i1",
        "hostName": "h1",
        "app": app,
        "ipAddr": "10.0.0.1",
        "status": "UP",
        "overriddenStatus": "UNKNOWN",
        "port": {"$": 8080, "@enabled": "true"},
        "securePort": {"$": 7002, "@enabled": "false"},
        "countryId": 1,
        "dataCenterInfo": {"@class": DATA_CENTER_CLASS, "name": "MyOwn"},
        "metadata": NO_METADATA,
        "vipAddress": "v1",
        "isCoordinatingDiscoveryServer": "false",
        "lastDirtyTimestamp": "1000",
        "actionType": "ADDED",
    }


def test_031_the_lease_of_a_new_instance(eureka: Eureka, app: str) -> None:
    eureka.given(app)

    lease = eureka.instance(app)["leaseInfo"]

    assert all(type(value) is int for value in lease.values())
    began = lease["registrationTimestamp"]
    assert began > 1_600_000_000_000
    assert abs(lease.pop("lastRenewalTimestamp") - began) < 1000
    assert abs(lease.pop("serviceUpTimestamp") - began) < 1000
    assert lease == {
        "renewalIntervalInSecs": 30,
        "durationInSecs": 90,
        "registrationTimestamp": began,
        "evictionTimestamp": 0,
    }


@pytest.mark.parametrize("optional", [pytest.param({}, id="least"), pytest.param(EVERY_OPTIONAL, id="most")])
def test_032_the_order_of_keys(eureka: Eureka, app: str, optional: dict[str, str]) -> None:
    eureka.given(app, **optional)

    instance = eureka.instance(app)

    assert list(instance) == [key for key in KEY_ORDER if key in instance]
    assert optional.keys() <= instance.keys()


def test_033_registering_twice_is_registering_once(eureka: Eureka, app: str) -> None:
    first, second = eureka.register(app, vipAddress=app), eureka.register(app, vipAddress=app)

    assert (first.status_code, second.status_code) == (204, 204)
    assert len(eureka.listed(app)) == 1
    assert eureka.json(f"vips/{app}")["apps__hashcode"] == "UP_1_"
    registry = eureka.registry()
    assert registry["apps__hashcode"] == hash_of(registry)


@pytest.mark.parametrize(
    ("in_path", "in_body"), [(str.lower, str.upper), (str.lower, str.lower), (str.upper, str.lower)]
)
def test_034_application_names_are_upper_case(
    eureka: Eureka, app: str, in_path: Callable[[str], str], in_body: Callable[[str], str]
) -> None:
    answer = eureka.post(in_path(app), {"instance": registration(in_body(app), "i1")})

    assert answer.status_code == 204
    assert [instance["app"] for instance in eureka.listed(app)] == [app]


def test_035_the_address_and_the_body_disagree(eureka: Eureka, app: str) -> None:
    answer = eureka.post(app, {"instance": registration("A", "i1")})

    assert (answer.status_code, answer.text) == (400, f"Mismatched appName, expecting {app} but was A")


def test_036_without_an_id_the_host_name_is_the_id(eureka: Eureka, app: str, expected: Expected) -> None:
    eureka.given(app, without=["instanceId"])

    assert eureka.renew(app, "h1").status_code == 200
    assert eureka.instance(app, "h1").get("instanceId") == expected(36, ours="h1", real=None)


def test_036_an_empty_id_is_none(eureka: Eureka, app: str, expected: Expected) -> None:
    """fargo registers every instance so."""
    eureka.given(app, "")

    assert eureka.renew(app, "h1").status_code == 200
    assert eureka.instance(app, "h1").get("instanceId") == expected(36, ours="h1", real="")


@pytest.mark.parametrize(
    ("without", "changes", "message"),
    [
        pytest.param(["instanceId", "hostName"], {}, "Missing instanceId", id="case037-nothing-to-go-by"),
        pytest.param([], {"hostName": ""}, "Missing hostname", id="case038-hostname-empty"),
        pytest.param(["hostName"], {}, "Missing hostname", id="case038-hostname-absent"),
        pytest.param(["ipAddr"], {}, "Missing ip address", id="case039-ip-absent"),
        pytest.param([], {"ipAddr": ""}, "Missing ip address", id="case039-ip-empty"),
        pytest.param([], {"app": ""}, "Missing appName", id="case040-app-empty"),
        pytest.param(["dataCenterInfo"], {}, "Missing dataCenterInfo", id="case041-data-center-absent"),
        pytest.param(
            [],
            {"dataCenterInfo": {"@class": DATA_CENTER_CLASS, "name": None}},
            "Missing dataCenterInfo Name",
            id="case042-data-center-name-null",
        ),
        pytest.param(
            [],
            {"dataCenterInfo": {"@class": DATA_CENTER_CLASS}},
            "Missing dataCenterInfo Name",
            id="case042-data-center-name-absent",
        ),
    ],
)
def test_what_a_registration_lacks_is_named(
    eureka: Eureka, app: str, without: list[str], changes: dict[str, Any], message: str
) -> None:
    document = registration(app, "i1", without=without) | changes

    answer = eureka.post(app, {"instance": document})

    assert (answer.status_code, answer.text) == (400, message)
    assert eureka.listed(app) == []


IDS = ["a:b:8080", "a b", "ü", "a%b", "a+b", "a?b", "x" * 300]


@pytest.mark.parametrize("instance_id", IDS, ids=["colons", "space", "umlaut", "percent", "plus", "question", "long"])
def test_081_any_id_is_reachable(eureka: Eureka, app: str, instance_id: str) -> None:
    eureka.given(app, instance_id)

    assert eureka.instance(app, instance_id)["instanceId"] == instance_id
    assert eureka.renew(app, instance_id).status_code == 200
    assert eureka.cancel(app, instance_id).status_code == 200
    assert eureka.listed(app) == []


def test_081_a_plus_in_an_address_is_a_plus(eureka: Eureka, app: str) -> None:
    eureka.given(app, "a+b")

    assert eureka.put(f"apps/{app}/a+b").status_code == 200


def test_081_an_id_of_two_dots_is_taken(eureka: Eureka, app: str) -> None:
    """It is listed; whether an address can name it is up to every client and proxy in between."""
    brief = {"durationInSecs": 1}  # nobody can cancel it through an address, so it lapses by itself
    answer = eureka.register(app, "..", leaseInfo=brief)

    assert answer.status_code == 204


def test_082_a_slash_in_an_id(eureka: Eureka, app: str, expected: Expected, refused: Refused) -> None:
    eureka.given(app, "a/b", leaseInfo={"durationInSecs": 2})

    assert eureka.get(f"apps/{app}/a%2Fb", headers=JSON).status_code == expected(82, ours=200, real=400)
    refused(eureka.get(f"apps/{app}/a/b", headers=JSON), 404)


def test_083_ids_differ_by_case(eureka: Eureka, app: str) -> None:
    eureka.given(app, "i1")
    eureka.given(app, "I1")

    assert sorted(instance["instanceId"] for instance in eureka.listed(app)) == ["I1", "i1"]


def test_084_the_same_id_under_two_applications(eureka: Eureka, app: str) -> None:
    shared = f"{app}-1"
    eureka.given(app, shared)
    eureka.given(f"{app}-B", shared)

    assert len(eureka.listed(app)) == len(eureka.listed(f"{app}-B")) == 1
    assert eureka.json(f"instances/{shared}")["app"] in (app, f"{app}-B")


def test_085_an_application_named_delta(eureka: Eureka) -> None:
    eureka.given("DELTA")

    assert eureka.json("apps/DELTA")["name"] == "DELTA"
    assert "versions__delta" in eureka.json("apps/delta")
    assert eureka.put("apps/delta/i1").status_code == 200


def test_086_the_names_of_the_caches_are_no_applications(eureka: Eureka, expected: Expected) -> None:
    answer = eureka.get("apps/ALL_APPS", headers=JSON)

    assert answer.status_code == expected(86, ours=404, real=200)
    if answer.status_code == 200:
        assert "applications" in answer.json()


def test_087_an_older_registration_changes_nothing(one_node: Eureka, app: str) -> None:
    one_node.given(app, lastDirtyTimestamp="2000", hostName="new")
    began = one_node.instance(app)["leaseInfo"]["registrationTimestamp"]

    answer = one_node.register(app, lastDirtyTimestamp="1000", hostName="old")

    assert answer.status_code == 204
    instance = one_node.instance(app)
    assert (instance["hostName"], instance["lastDirtyTimestamp"]) == ("new", "2000")
    assert instance["leaseInfo"]["registrationTimestamp"] >= began


def test_088_of_two_registrations_of_one_moment_the_later_counts(eureka: Eureka, app: str) -> None:
    eureka.given(app, hostName="first")
    eureka.given(app, hostName="second")

    assert eureka.instance(app)["hostName"] == "second"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("base", ["/eureka"])
def test_089_ten_thousand_instances_of_one_application(
    eureka: Eureka, app: str, request: pytest.FixtureRequest
) -> None:
    # Before a cluster each request waits until all nodes tell the same: all of them would take longer than a lease.
    many = 10_000 if request.config.getoption("--nodes") == 1 else 500
    ids = [f"i{number}" for number in range(many)]
    lasting = {"vipAddress": app, "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 3600}}
    with ThreadPoolExecutor(8) as callers:
        statuses = set(callers.map(lambda i: eureka.register(app, i, **lasting).status_code, ids))

        assert statuses == {204}
        assert {instance["instanceId"] for instance in eureka.listed(app)} == set(ids)
        assert eureka.json(f"vips/{quote(app)}")["apps__hashcode"] == f"UP_{many}_"

        assert set(callers.map(lambda i: eureka.cancel(app, i).status_code, ids)) == {200}
