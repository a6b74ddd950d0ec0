"""Statuses and overrides (cases 122-138). Overrides of the original belong to an id, so every test has its own."""

from __future__ import annotations

import time

import pytest

from conformance.eureka.client import REPLICATED, Eureka
from conformance.eureka.conftest import Expected, Refused


@pytest.fixture
def one(app: str) -> str:
    """An instance id that no other test uses; the cases call it i1."""
    return f"{app}-1"


def test_122_an_override_is_shown(eureka: Eureka, app: str, one: str) -> None:
    eureka.given(app, one, vipAddress=app)
    before = int(eureka.instance(app, one)["lastUpdatedTimestamp"])
    time.sleep(0.01)  # timestamps are in milliseconds

    answer = eureka.override(app, one, "?value=OUT_OF_SERVICE")

    assert (answer.status_code, answer.content) == (200, b"")
    instance = eureka.instance(app, one)
    assert _statuses(eureka, app, one) == ("OUT_OF_SERVICE", "OUT_OF_SERVICE")
    assert instance["actionType"] == "MODIFIED"
    assert int(instance["lastUpdatedTimestamp"]) > before
    assert [(i["status"], i["actionType"]) for i in eureka.changed(app)] == [("OUT_OF_SERVICE", "MODIFIED")]
    assert eureka.json(f"vips/{app}")["apps__hashcode"] == "OUT_OF_SERVICE_1_"


def test_123_an_override_outlasts_what_the_owner_says(eureka: Eureka, app: str, one: str) -> None:
    eureka.given(app, one)
    eureka.override(app, one, "?value=OUT_OF_SERVICE")

    assert eureka.renew(app, one, "?status=UP").status_code == 200
    assert eureka.register(app, one).status_code == 204
    assert eureka.renew(app, one).status_code == 200
    assert _statuses(eureka, app, one) == ("OUT_OF_SERVICE", "OUT_OF_SERVICE")


def test_124_lifted_to_a_status(eureka: Eureka, app: str, one: str) -> None:
    eureka.given(app, one)
    eureka.override(app, one, "?value=OUT_OF_SERVICE")

    assert eureka.lift_override(app, one, "?value=UP").status_code == 200

    assert _statuses(eureka, app, one) == ("UP", "UNKNOWN")
    assert eureka.renew(app, one).status_code == 200


def test_125_lifted_without_a_status(eureka: Eureka, app: str, one: str, refused: Refused) -> None:
    eureka.given(app, one)
    eureka.override(app, one, "?value=OUT_OF_SERVICE")

    assert eureka.lift_override(app, one).status_code == 200

    assert _statuses(eureka, app, one) == ("UNKNOWN", "UNKNOWN")
    refused(eureka.renew(app, one), 404)
    eureka.given(app, one)
    assert _statuses(eureka, app, one) == ("UP", "UNKNOWN")


def test_126_nothing_to_lift(eureka: Eureka, app: str, one: str) -> None:
    eureka.given(app, one)

    assert eureka.lift_override(app, one).status_code == 200

    assert _statuses(eureka, app, one) == ("UP", "UNKNOWN")
    assert [i["actionType"] for i in eureka.changed(app)] == ["ADDED"]


def test_127_the_status_it_has_is_no_override(eureka: Eureka, app: str, one: str) -> None:
    eureka.given(app, one)

    assert eureka.override(app, one, "?value=UP").status_code == 200

    assert _statuses(eureka, app, one) == ("UP", "UNKNOWN")


@pytest.mark.parametrize("query", ["", "?value=", "?value=up", "?value=FOO"])
def test_128_what_is_no_status(eureka: Eureka, app: str, one: str, query: str, expected: Expected) -> None:
    eureka.given(app, one)

    assert eureka.override(app, one, query).status_code == expected(128, ours=400, real=500)
    assert _statuses(eureka, app, one) == ("UP", "UNKNOWN")


def test_129_the_first_value_counts(eureka: Eureka, app: str, one: str) -> None:
    eureka.given(app, one)

    assert eureka.override(app, one, "?value=DOWN&value=UP").status_code == 200
    assert _statuses(eureka, app, one) == ("DOWN", "DOWN")


@pytest.mark.parametrize(("sent", "stored"), [("5000", "5000"), ("500", "1000")])
def test_130_the_dirty_timestamp_only_grows(eureka: Eureka, app: str, one: str, sent: str, stored: str) -> None:
    eureka.given(app, one)

    assert eureka.override(app, one, f"?value=DOWN&lastDirtyTimestamp={sent}").status_code == 200
    assert eureka.instance(app, one)["lastDirtyTimestamp"] == stored


def test_130_a_dirty_timestamp_that_is_no_number(eureka: Eureka, app: str, one: str, expected: Expected) -> None:
    """measured: the original has changed the status by the time it fails."""
    eureka.given(app, one)

    answer = eureka.override(app, one, "?value=DOWN&lastDirtyTimestamp=abc")

    assert answer.status_code == expected(130, ours=400, real=500)
    assert _statuses(eureka, app, one) == expected(130, ours=("UP", "UNKNOWN"), real=("DOWN", "DOWN"))


def test_131_unknown_instances(eureka: Eureka, app: str, one: str, refused: Refused) -> None:
    refused(eureka.override(app, one, "?value=DOWN"), 404)
    refused(eureka.lift_override(app, one), 404)


def test_132_what_is_down_is_shown_down(eureka: Eureka, app: str, one: str) -> None:
    eureka.given(app, one)
    eureka.override(app, one, "?value=OUT_OF_SERVICE")

    eureka.given(app, one, status="DOWN")
    assert eureka.instance(app, one)["status"] == "DOWN"

    eureka.given(app, one, status="UP")
    assert eureka.instance(app, one)["status"] == "OUT_OF_SERVICE"


REGISTERED_IN_TURN = [
    pytest.param(["UP", "OUT_OF_SERVICE"], "UP", "OUT_OF_SERVICE", id="up-first"),
    pytest.param(["OUT_OF_SERVICE", "UP"], "OUT_OF_SERVICE", "UP", id="out-of-service-first"),
    pytest.param(["STARTING", "UP"], "UP", "UP", id="starting-first"),
]


@pytest.mark.parametrize(("statuses", "by_client", "by_peer"), REGISTERED_IN_TURN)
@pytest.mark.parametrize("headers", [{}, REPLICATED], ids=["case133-client", "case134-peer"])
def test_registering_with_another_status(
    eureka: Eureka, app: str, one: str, statuses: list[str], by_client: str, by_peer: str, headers: dict[str, str]
) -> None:
    """Between UP and OUT_OF_SERVICE the lease's status counts, not the client's; a peer is believed."""
    for status in statuses:
        eureka.given(app, one, status=status, headers=headers)

    assert eureka.instance(app, one)["status"] == (by_peer if headers else by_client)


def test_135_an_override_belongs_to_one_instance(eureka: Eureka, app: str, one: str, expected: Expected) -> None:
    eureka.given(app, one)
    eureka.given(f"{app}-B", one)

    eureka.override(app, one, "?value=OUT_OF_SERVICE")
    eureka.renew(f"{app}-B", one)

    assert eureka.instance(f"{app}-B", one)["status"] == expected(135, ours="UP", real="OUT_OF_SERVICE")


def test_136_an_override_ends_with_its_instance(eureka: Eureka, app: str, one: str) -> None:
    eureka.given(app, one)
    eureka.override(app, one, "?value=OUT_OF_SERVICE")
    eureka.cancel(app, one)

    eureka.given(app, one)

    assert _statuses(eureka, app, one) == ("UP", "UNKNOWN")


def test_137_heartbeats_do_not_wear_an_override_out(eureka: Eureka, app: str, one: str) -> None:
    """The hours of this case cannot be waited for here; a hundred renewals stand for them."""
    eureka.given(app, one)
    eureka.override(app, one, "?value=OUT_OF_SERVICE")

    assert {eureka.renew(app, one).status_code for _ in range(100)} == {200}
    assert _statuses(eureka, app, one) == ("OUT_OF_SERVICE", "OUT_OF_SERVICE")


def test_138_an_override_cannot_trap_a_client(eureka: Eureka, app: str, one: str, expected: Expected) -> None:
    """With UNKNOWN as override the original refuses every heartbeat, whatever the client registers."""
    eureka.given(app, one)

    assert eureka.override(app, one, "?value=UNKNOWN").status_code in expected(138, ours=(200, 400), real=(200,))

    eureka.given(app, one)
    assert eureka.renew(app, one).status_code == expected(138, ours=200, real=404)


def _statuses(eureka: Eureka, app: str, instance_id: str) -> tuple[str, str]:
    instance = eureka.instance(app, instance_id)
    return instance["status"], instance["overriddenStatus"]
