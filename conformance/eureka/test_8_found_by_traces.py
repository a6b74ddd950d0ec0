"""Where we mean to differ, as random traces beside the original showed (conformance/eureka/differential)."""

from __future__ import annotations

import json

from conformance.eureka.client import JSON, Eureka, instance_path
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


def test_87_a_registration_that_changes_nothing(eureka: Eureka, app: str, expected: Expected) -> None:
    eureka.given(app)
    eureka.put(f"{instance_path(app, 'i1')}/status?value=DOWN")
    eureka.given(app, lastDirtyTimestamp="999")

    assert [one["actionType"] for one in eureka.changed(app)] == [expected(87, ours="MODIFIED", real="ADDED")]


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

    answer = eureka.send(
        "POST",
        "peerreplication/batch/",
        headers=JSON | {"Content-Type": "application/json"},
        content=json.dumps({"replicationList": [older, down]}).encode(),
    )

    first, second = answer.json()["responseList"]
    assert (first["statusCode"], second["statusCode"]) == (409, 200)
    assert first["responseEntity"]["status"] == expected(175, ours="UP", real="DOWN")
