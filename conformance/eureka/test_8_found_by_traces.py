"""Where we mean to differ, as random traces beside the original showed (conformance/eureka/differential)."""

from __future__ import annotations

import json

import httpx
import pytest

from conformance.eureka.client import JSON, Document, Eureka, instance_path, registration
from conformance.eureka.conftest import Expected


def test_12_one_application_compressed(eureka: Eureka, app: str, expected: Expected) -> None:
    eureka.given(app)

    answer = eureka.get(f"apps/{app}", headers=JSON | {"Accept-Encoding": "gzip"})

    assert answer.headers.get("content-encoding") == expected(12, ours="gzip", real=None)


def test_37_the_label_of_a_refusal(eureka: Eureka, app: str, expected: Expected) -> None:
    answer = eureka.register(app, without=["hostName"])

    assert (answer.status_code, answer.text) == (400, "Missing hostname")
    assert answer.headers["content-type"].startswith(expected(37, ours="text/plain", real="application/"))


def test_65_what_is_wrong_with_a_body(eureka: Eureka, app: str, expected: Expected) -> None:
    answer = eureka.register(app, port="none", headers=JSON)

    assert answer.status_code == 400
    assert ("port" in answer.text) is expected(65, ours=True, real=False)


def test_65_a_bare_port_in_a_batch(eureka: Eureka, app: str, expected: Expected) -> None:
    """The original takes the end of the item for that of the port."""
    item = {"appName": app, "id": "i1", "lastDirtyTimestamp": 1000, "status": "UP"}
    spoilt = {**item, "instanceInfo": registration(app, "i1", securePort=8443), "action": "Register"}
    heartbeat = {**item, "action": "Heartbeat"}

    answers = [_batch(eureka, *items) for items in ([spoilt], [spoilt, heartbeat])]

    assert [answer.status_code for answer in answers] == expected(65, ours=[400, 400], real=[400, 200])
    if answers[1].status_code == 200:
        assert [one["statusCode"] for one in answers[1].json()["responseList"]] == [500, 404]


def test_87_a_registration_that_changes_nothing(eureka: Eureka, app: str, expected: Expected) -> None:
    eureka.given(app)
    eureka.put(f"{instance_path(app, 'i1')}/status?value=DOWN")
    eureka.given(app, lastDirtyTimestamp="999")

    assert [one["actionType"] for one in eureka.changed(app)] == [expected(87, ours="MODIFIED", real="ADDED")]


@pytest.mark.parametrize(("which", "field"), [("vips", "vipAddress"), ("svips", "secureVipAddress")])
def test_97_a_vip_that_a_registration_leaves(
    eureka: Eureka, app: str, which: str, field: str, expected: Expected
) -> None:
    """The original remembers it for a second here; on a machine that takes longer to ask, it may have forgotten."""

    def lags(name: str) -> bool:
        old, new = f"{name}-old", f"{name}-new"
        eureka.given(name, **{field: old})
        listed = [eureka.json(f"{which}/{old}")["apps__hashcode"]]
        eureka.given(name, **{field: new}, lastDirtyTimestamp="1001")
        listed += [eureka.json(f"{which}/{vip}")["apps__hashcode"] for vip in (new, old)]
        assert listed[:2] == ["UP_1_", "UP_1_"]
        return bool(listed[2])

    assert any(lags(f"{app}-{attempt}") for attempt in range(3)) is expected(97, ours=False, real=True)


def test_132_up_by_an_operator(eureka: Eureka, app: str, expected: Expected) -> None:
    eureka.given(app, status="DOWN")
    path = f"{instance_path(app, 'i1')}/status"
    eureka.put(f"{path}?value=OUT_OF_SERVICE")
    eureka.delete(f"{path}?value=UP")

    assert eureka.instance(app)["status"] == "UP"
    assert (eureka.instance(app)["leaseInfo"]["serviceUpTimestamp"] > 0) is expected(132, ours=True, real=False)


def test_175_a_copy_in_the_answer_to_a_batch(eureka: Eureka, app: str, expected: Expected) -> None:
    eureka.given(app)
    older = {"appName": app, "id": "i1", "lastDirtyTimestamp": 999, "status": "UP", "action": "Heartbeat"}
    down = {"appName": app, "id": "i1", "lastDirtyTimestamp": 1000, "status": "DOWN", "action": "StatusUpdate"}

    first, second = _batch(eureka, older, down).json()["responseList"]

    assert (first["statusCode"], second["statusCode"]) == (409, 200)
    assert first["responseEntity"]["status"] == expected(175, ours="UP", real="DOWN")


def _batch(eureka: Eureka, *items: Document) -> httpx.Response:
    headers = JSON | {"Content-Type": "application/json"}
    content = json.dumps({"replicationList": items}).encode()
    return eureka.send("POST", "peerreplication/batch/", headers=headers, content=content)
