"""What a peer sends in batches (cases 169-171; the others come with replication)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from conformance.eureka.client import Document, Eureka, registration


@pytest.fixture
def replicate(eureka: Eureka) -> Callable[..., list[Document]]:
    """`replicate(item, …)` sends one batch and returns the answer to each item."""

    def send(*items: Document) -> list[Document]:
        answer = eureka.send(
            "POST",
            "peerreplication/batch/",
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            content=json.dumps({"replicationList": items}).encode(),
        )
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        document = answer.json()
        assert list(document) == ["responseList"]
        return list(document["responseList"])

    return send


def _item(app: str, action: str, **more: Any) -> Document:
    return {"appName": app, "id": "i1", "lastDirtyTimestamp": 1000, "status": "UP", **more, "action": action}


def test_169_an_empty_batch(replicate: Callable[..., list[Document]]) -> None:
    assert replicate() == []


@pytest.mark.parametrize("lease", [{}, {"leaseInfo": {"durationInSecs": 45}}], ids=["no-lease", "lease"])
def test_170_a_registration(
    eureka: Eureka, app: str, replicate: Callable[..., list[Document]], lease: Document
) -> None:
    (answer,) = replicate(_item(app, "Register", instanceInfo=registration(app, "i1", **lease)))

    assert answer["statusCode"] == 200
    assert eureka.instance(app)["leaseInfo"]["durationInSecs"] == (45 if lease else 90)
    assert eureka.cancel(app).status_code == 200


@pytest.mark.parametrize(
    ("dirty", "status"),
    [
        pytest.param(1000, 200, id="equal"),
        pytest.param(1001, 404, id="theirs-newer"),
        pytest.param(999, 409, id="ours-newer"),
    ],
)
def test_171_a_heartbeat(
    eureka: Eureka, app: str, replicate: Callable[..., list[Document]], dirty: int, status: int
) -> None:
    eureka.given(app)

    (answer,) = replicate(_item(app, "Heartbeat", lastDirtyTimestamp=dirty))

    assert answer["statusCode"] == status
    if status == 409:
        assert answer["responseEntity"]["lastDirtyTimestamp"] == "1000"
        assert answer["responseEntity"]["instanceId"] == "i1"


def test_171_a_heartbeat_for_a_stranger(app: str, replicate: Callable[..., list[Document]]) -> None:
    assert [answer["statusCode"] for answer in replicate(_item(app, "Heartbeat"))] == [404]
