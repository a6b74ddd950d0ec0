"""Heartbeats (cases 108-121)."""

from __future__ import annotations

import time
from typing import Any

import pytest

from conformance.eureka.client import JSON, REPLICATED, XML, Eureka
from conformance.eureka.conftest import ClientOf, Expected, Refused, ServerWith

NEWER = "?lastDirtyTimestamp=1001"
EQUAL = "?lastDirtyTimestamp=1000"
OLDER = "?lastDirtyTimestamp=999"


@pytest.mark.parametrize(
    ("query", "headers", "content"),
    [
        pytest.param("", {}, None, id="case108-nothing"),
        pytest.param("", {"Content-Type": "application/json"}, b"{}", id="case110-object"),
        pytest.param("", {"Content-Type": "application/json"}, b"}garbage", id="case110-garbage"),
        pytest.param("", {"Content-Type": "text/plain"}, b"text", id="case110-text"),
        pytest.param("?status=DOWN", {}, None, id="case112-down"),
        pytest.param("?status=foo", {}, None, id="case112-unknown-status"),
        pytest.param("?status=", {}, None, id="case112-empty-status"),
        pytest.param(EQUAL, {}, None, id="case113-equal"),
        pytest.param(OLDER, {}, None, id="case113-older"),
        pytest.param("?overriddenstatus=OUT_OF_SERVICE", {}, None, id="case117-override-of-a-client"),
    ],
)
def test_accepted(eureka: Eureka, app: str, query: str, headers: dict[str, str], content: bytes | None) -> None:
    eureka.given(app)

    answer = eureka.renew(app, "i1", query, headers=headers, content=content)

    assert (answer.status_code, answer.content) == (200, b"")
    instance = eureka.instance(app)
    assert (instance["status"], instance["overriddenStatus"]) == ("UP", "UNKNOWN")


def test_109_the_application_in_any_case_the_id_in_its_own(eureka: Eureka, app: str, refused: Refused) -> None:
    eureka.given(app)

    assert eureka.renew(app.lower(), "i1").status_code == 200
    refused(eureka.renew(app, "I1"), 404)


def test_111_a_stranger_is_told_to_register(eureka: Eureka, app: str, refused: Refused) -> None:
    refused(eureka.renew(app), 404)

    eureka.given(app)

    assert eureka.renew(app).status_code == 200


def test_113_newer_data_has_to_be_registered(one_node: Eureka, app: str, refused: Refused) -> None:
    """The lease is renewed all the same: it is the data that is wanted."""
    one_node.given(app)
    before = one_node.instance(app)["leaseInfo"]["lastRenewalTimestamp"]
    time.sleep(0.01)  # timestamps are in milliseconds

    refused(one_node.renew(app, "i1", NEWER), 404)

    assert one_node.instance(app)["leaseInfo"]["lastRenewalTimestamp"] > before


@pytest.mark.parametrize("value", ["abc", ""])
def test_114_a_dirty_timestamp_that_is_no_number(eureka: Eureka, app: str, value: str, expected: Expected) -> None:
    eureka.given(app)

    answer = eureka.renew(app, "i1", f"?lastDirtyTimestamp={value}")

    assert answer.status_code == expected(114, ours=200, real=500)


def test_115_a_peer_behind_us_gets_our_data(eureka: Eureka, app: str) -> None:
    eureka.given(app)

    answer = eureka.renew(app, "i1", OLDER, headers=REPLICATED | JSON)

    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/json")
    assert answer.json()["instance"]["lastDirtyTimestamp"] == "1000"


def test_115_our_data_in_the_peers_format(eureka: Eureka, app: str) -> None:
    eureka.given(app)

    answer = eureka.renew(app, "i1", OLDER, headers=REPLICATED | XML)

    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/xml")
    assert answer.content.startswith(b"<instance>")


@pytest.mark.parametrize("value", ["True", "1"])
def test_115_only_the_word_true_marks_a_peer(eureka: Eureka, app: str, value: str) -> None:
    eureka.given(app)

    answer = eureka.renew(app, "i1", OLDER, headers={"x-netflix-discovery-replication": value})

    assert answer.status_code == 200


def test_116_a_peers_override_is_taken_over(eureka: Eureka, app: str, refused: Refused) -> None:
    unique_id = f"{app}-1"
    eureka.given(app, unique_id)

    refused(eureka.renew(app, unique_id, f"{NEWER}&overriddenstatus=OUT_OF_SERVICE", headers=REPLICATED), 404)

    assert eureka.renew(app, unique_id).status_code == 200
    instance = eureka.instance(app, unique_id)
    assert (instance["status"], instance["overriddenStatus"]) == ("OUT_OF_SERVICE", "OUT_OF_SERVICE")


def test_117_a_clients_override_is_not(eureka: Eureka, app: str, refused: Refused) -> None:
    eureka.given(app)

    refused(eureka.renew(app, "i1", f"{NEWER}&overriddenstatus=OUT_OF_SERVICE"), 404)

    assert eureka.renew(app).status_code == 200
    assert eureka.instance(app)["status"] == "UP"


def test_118_when_the_last_renewal_was(one_node: Eureka, app: str, expected: Expected) -> None:
    """The original writes the moment until which the renewal lasts; no client computes with it."""
    one_node.given(app)
    one_node.renew(app)

    lease = one_node.instance(app)["leaseInfo"]

    ahead_ms = lease["lastRenewalTimestamp"] - lease["registrationTimestamp"]
    assert ahead_ms >= expected(118, ours=0, real=90_000)
    assert ahead_ms < 150_000


def test_119_a_heartbeat_is_no_change(eureka: Eureka, app: str) -> None:
    eureka.given(app)
    before = (eureka.instance(app)["lastUpdatedTimestamp"], _without_lease(eureka.changed(app)))
    time.sleep(0.01)

    eureka.renew(app)

    assert (eureka.instance(app)["lastUpdatedTimestamp"], _without_lease(eureka.changed(app))) == before


@pytest.mark.parametrize(("status", "answered"), [("UNKNOWN", 404), ("DOWN", 200), ("STARTING", 200)])
def test_120_by_status(eureka: Eureka, app: str, status: str, answered: int) -> None:
    eureka.given(app, status=status)

    assert [eureka.renew(app).status_code for _ in range(2)] == [answered, answered]


@pytest.mark.parametrize("headers", [{}, REPLICATED], ids=["client", "peer"])
@pytest.mark.parametrize("query", [EQUAL, OLDER, NEWER], ids=["equal", "older", "newer"])
def test_121_timestamps_may_be_ignored(
    server_with: ServerWith, client_of: ClientOf, app: str, query: str, headers: dict[str, str]
) -> None:
    eureka = client_of(server_with(eureka_sync_when_timestamp_differs=False))
    eureka.given(app)

    assert eureka.renew(app, "i1", query, headers=headers).status_code == 200


def _without_lease(instances: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in instance.items() if key != "leaseInfo"} for instance in instances]
