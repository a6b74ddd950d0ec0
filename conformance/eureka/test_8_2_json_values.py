"""Registration as JSON: how values are read and written back (cases 63-77)."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from conformance.eureka.client import NO_METADATA, XML, Document, Eureka
from conformance.eureka.conftest import Expected


@pytest.mark.parametrize(
    ("field", "sent", "stored"),
    [
        pytest.param("port", {"$": "8080", "@enabled": True}, {"$": 8080, "@enabled": "true"}, id="case063-text"),
        pytest.param("port", {"$": 1, "@enabled": "TRUE"}, {"$": 1, "@enabled": "false"}, id="case063-upper-case"),
        pytest.param("port", {}, {"$": 7001, "@enabled": "true"}, id="case064-port-empty"),
        pytest.param("port", {"$": -1, "@enabled": "true"}, {"$": -1, "@enabled": "true"}, id="case066-negative"),
        pytest.param("port", {"$": 70000, "@enabled": "true"}, {"$": 70000, "@enabled": "true"}, id="case066-large"),
        pytest.param("countryId", "7", 7, id="case067-country"),
        pytest.param("isCoordinatingDiscoveryServer", "true", "false", id="case067-coordinating"),
        pytest.param("lastDirtyTimestamp", 1000, "1000", id="case068-number"),
        pytest.param("lastDirtyTimestamp", "abc", "0", id="case068-garbage"),
        pytest.param(
            "metadata",
            {"a": 1, "b": True, "c": None, "d": "x", "@class": "z"},
            {"a": "1", "b": "true", "c": "null", "d": "x"},
            id="case069-scalars",
        ),
        pytest.param("metadata", None, NO_METADATA, id="case069-null"),
        pytest.param("metadata", {}, NO_METADATA, id="case069-empty"),
        pytest.param("appGroupName", "grp", "GRP", id="case073-group"),
        pytest.param("sid", "na", None, id="case073-sid-none"),
        pytest.param("sid", "s1", "s1", id="case073-sid"),
        pytest.param("actionType", "DELETED", "ADDED", id="case074-action"),
    ],
)
def test_a_value_is_stored_as(eureka: Eureka, app: str, field: str, sent: Any, stored: Any) -> None:
    eureka.given(app, **{field: sent})

    assert eureka.instance(app).get(field) == stored


def test_064_no_port(eureka: Eureka, app: str) -> None:
    eureka.given(app, without=["port"])

    assert eureka.instance(app)["port"] == {"$": 7001, "@enabled": "true"}


def test_065_a_bare_port(eureka: Eureka, app: str, expected: Expected) -> None:
    """400 as well with us: eureka-js-client prints what the answer says, and its users find their mistake."""
    assert eureka.register(app, port=8080).status_code == 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("port", {"$": 99999999999, "@enabled": "true"}, id="case066-beyond-32-bits"),
        pytest.param("metadata", ["a"], id="case069-array"),
        pytest.param("metadata", "x", id="case069-text"),
    ],
)
def test_a_value_is_refused(eureka: Eureka, app: str, field: str, value: Any) -> None:
    assert eureka.register(app, **{field: value}).status_code == 400
    assert eureka.listed(app) == []


def test_068_without_a_dirty_timestamp_the_present_counts(eureka: Eureka, app: str) -> None:
    eureka.given(app, without=["lastDirtyTimestamp"])

    instance = eureka.instance(app)

    assert abs(int(instance["lastDirtyTimestamp"]) - instance["leaseInfo"]["registrationTimestamp"]) < 60_000


def test_070_metadata_in_any_script(eureka: Eureka, app: str) -> None:
    metadata = {"schlüssel": 'Wert "x" & <y>', "名": "値\nzweite Zeile", "emoji": "😀 und mehr"}
    eureka.given(app, metadata=metadata)

    assert eureka.instance(app)["metadata"] == metadata
    assert _metadata_as_xml(eureka, app) == metadata


@pytest.mark.parametrize(
    ("key", "element"), [("a b", "a_.0020b"), ("1x", "_.0031x"), ("my_key", "my__key"), ("$k", "_-k")]
)
def test_071_metadata_keys_become_element_names(eureka: Eureka, app: str, key: str, element: str) -> None:
    eureka.given(app, metadata={key: "v"})

    assert _metadata_as_xml(eureka, app) == {element: "v"}


@pytest.mark.parametrize(
    "metadata", [{"": "v"}, {"ns:k": "v"}, {"k": "a\u0001b"}], ids=["empty-key", "colon", "control-character"]
)
def test_072_metadata_that_xml_cannot_hold(
    eureka: Eureka, app: str, metadata: dict[str, str], expected: Expected
) -> None:
    eureka.given(app, metadata=metadata)

    assert eureka.instance(app)["metadata"] == metadata
    assert _is_well_formed(eureka.get(f"apps/{app}", headers=XML).content) is expected(72, ours=True, real=False)


def test_075_explicit_nulls(eureka: Eureka, app: str) -> None:
    """Spring writes every field that it has not set so."""
    absent = "appGroupName homePageUrl statusPageUrl healthCheckUrl secureHealthCheckUrl secureVipAddress asgName sid"
    nulls: Document = dict.fromkeys([*absent.split(), "metadata", "leaseInfo", "securePort", "actionType"])
    eureka.given(app, **nulls)

    instance = eureka.instance(app)

    assert instance.keys().isdisjoint(absent.split())
    assert None not in instance.values()


@pytest.mark.parametrize(
    ("sent", "renewal_s", "duration_s"),
    [
        pytest.param({"durationInSecs": 0, "renewalIntervalInSecs": -5}, 30, 90, id="not-positive"),
        pytest.param({"durationInSecs": "45"}, 30, 45, id="text"),
    ],
)
def test_076_lease_terms(eureka: Eureka, app: str, sent: Document, renewal_s: int, duration_s: int) -> None:
    eureka.given(app, leaseInfo=sent)

    lease = eureka.instance(app)["leaseInfo"]

    assert (lease["renewalIntervalInSecs"], lease["durationInSecs"]) == (renewal_s, duration_s)


def test_076_a_lease_longer_than_the_original_can_count(eureka: Eureka, app: str, expected: Expected) -> None:
    answer = eureka.register(app, leaseInfo={"durationInSecs": 2147484})

    assert answer.status_code == 204
    assert eureka.get(f"apps/{app}/i1").status_code == expected(76, ours=200, real=404)


def test_077_lease_timestamps_are_the_servers(eureka: Eureka, app: str) -> None:
    sent = {"registrationTimestamp": 5, "lastRenewalTimestamp": 6, "evictionTimestamp": 7, "serviceUpTimestamp": 8}
    eureka.given(app, leaseInfo=sent)

    lease = eureka.instance(app)["leaseInfo"]

    assert lease["evictionTimestamp"] == 0
    stamps = [lease[key] for key in ("registrationTimestamp", "lastRenewalTimestamp", "serviceUpTimestamp")]
    assert min(stamps) > 1_600_000_000_000


def _metadata_as_xml(eureka: Eureka, app: str) -> dict[str, str | None]:
    metadata = eureka.xml(f"apps/{app}/i1").find("metadata")
    assert metadata is not None
    return {child.tag: child.text for child in metadata}


def _is_well_formed(document: bytes) -> bool:
    try:
        ElementTree.fromstring(document)
    except ElementTree.ParseError:
        return False
    return True
