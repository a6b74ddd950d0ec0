"""What a peer sends in batches and alone (cases 169-183)."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from conformance.eureka.client import REPLICATED, Document, Eureka, instance_path, registration
from conformance.eureka.conftest import Expected, Refused

BATCH = {"Content-Type": "application/json", "Accept": "application/json"}


@pytest.fixture
def replicate(eureka: Eureka) -> Callable[..., list[Document]]:
    """`replicate(item, …)` sends one batch and returns the answer to each item."""

    def send(*items: Document) -> list[Document]:
        answer = eureka.send(
            "POST",
            "peerreplication/batch/",
            headers=BATCH,
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


def test_172_a_status(eureka: Eureka, app: str, replicate: Callable[..., list[Document]]) -> None:
    eureka.given(app)

    results = replicate(
        _item(app, "StatusUpdate", status="DOWN"),
        {**_item(app, "StatusUpdate", status="DOWN"), "id": "stranger"},
    )

    assert [answer["statusCode"] for answer in results] == [200, 404]
    assert eureka.instance(app)["status"] == "DOWN"


@pytest.mark.parametrize("status", ["foo", None])
def test_172_a_status_that_is_none(
    eureka: Eureka, app: str, replicate: Callable[..., list[Document]], status: str | None
) -> None:
    eureka.given(app)
    item = _item(app, "StatusUpdate", status=status)
    if status is None:
        del item["status"]

    assert [answer["statusCode"] for answer in replicate(item)] == [500]
    assert eureka.instance(app)["status"] == "UP"


def test_173_an_override_taken_back(
    eureka: Eureka, app: str, replicate: Callable[..., list[Document]], expected: Expected
) -> None:
    eureka.given(app)
    eureka.put(f"{instance_path(app, 'i1')}/status?value=OUT_OF_SERVICE")
    without = _item(app, "DeleteStatusOverride", status="UP")
    del without["lastDirtyTimestamp"]

    assert [answer["statusCode"] for answer in replicate(without)] == [expected(173, ours=200, real=500)]
    assert [answer["statusCode"] for answer in replicate(_item(app, "DeleteStatusOverride", status="UP"))] == [200]
    assert eureka.instance(app)["overriddenStatus"] == "UNKNOWN"


def test_174_a_cancellation(eureka: Eureka, app: str, replicate: Callable[..., list[Document]]) -> None:
    eureka.given(app)

    assert [answer["statusCode"] for _ in range(2) for answer in replicate(_item(app, "Cancel"))] == [200, 404]


def test_175_each_item_has_its_result_in_order(app: str, replicate: Callable[..., list[Document]]) -> None:
    results = replicate(
        _item(app, "Register", instanceInfo=registration(app, "i1")),
        {**_item(app, "Heartbeat"), "id": "y"},
        {"appName": app, "id": "z", "action": "Cancel"},
        _item(app, "Heartbeat"),
        _item(app, "Cancel"),
    )

    assert [answer["statusCode"] for answer in results] == [200, 404, 404, 200, 200]


def test_176_a_registration_that_fails_validation(
    eureka: Eureka, app: str, replicate: Callable[..., list[Document]]
) -> None:
    info = registration(app, "i1", without=["hostName"])

    assert [answer["statusCode"] for answer in replicate(_item(app, "Register", instanceInfo=info))] == [200]
    assert eureka.get(instance_path(app, "i1")).status_code == 404


@pytest.mark.parametrize("missing", ["action", "appName", "id"])
def test_177_an_item_that_lacks_something(
    eureka: Eureka, app: str, replicate: Callable[..., list[Document]], missing: str
) -> None:
    eureka.given(app)
    broken = {key: value for key, value in _item(app, "Heartbeat").items() if key != missing}
    good = {**_item(app, "Register", instanceInfo=registration(app, "i2")), "id": "i2"}

    assert [answer["statusCode"] for answer in replicate(broken, good)] == [500, 200]
    assert eureka.instance(app, "i2")["instanceId"] == "i2"
    eureka.cancel(app, "i2")


def test_177_a_registration_has_its_id_with_it(
    eureka: Eureka, app: str, replicate: Callable[..., list[Document]]
) -> None:
    item = _item(app, "Register", instanceInfo=registration(app, "i1"))
    del item["id"]

    assert [answer["statusCode"] for answer in replicate(item)] == [200]
    assert eureka.cancel(app).status_code == 200


def test_177_a_registration_of_nothing(app: str, replicate: Callable[..., list[Document]]) -> None:
    assert [answer["statusCode"] for answer in replicate(_item(app, "Register"))] == [500]


def _send(eureka: Eureka, content: bytes, **headers: str) -> httpx.Response:
    return eureka.send("POST", "peerreplication/batch/", headers=BATCH | headers, content=content)


def _batch(*items: Document) -> bytes:
    return json.dumps({"replicationList": items}).encode()


@pytest.mark.parametrize("content", ["unknown-action", "broken"])
def test_178_a_batch_that_means_nothing_is_refused_whole(
    eureka: Eureka, app: str, refused: Refused, content: str
) -> None:
    good = _item(app, "Register", instanceInfo=registration(app, "i1"))
    batch = _batch(good, _item(app, "Dance")) if content == "unknown-action" else _batch(good)[:-2]

    answer = _send(eureka, batch)

    assert answer.status_code == 400
    assert eureka.get(instance_path(app, "i1")).status_code == 404


@pytest.mark.parametrize("where", ["item", "list"])
def test_178_a_key_that_nobody_knows(eureka: Eureka, app: str, expected: Expected, where: str) -> None:
    item = _item(app, "Register", instanceInfo=registration(app, "i1"))
    document: Document = {"replicationList": [item | ({"colour": "blue"} if where == "item" else {})]}
    if where == "list":
        document["colour"] = "blue"

    answer = _send(eureka, json.dumps(document).encode())

    assert answer.status_code == expected(178, ours=200, real=400)
    assert eureka.get(instance_path(app, "i1")).status_code == expected(178, ours=200, real=404)
    eureka.cancel(app)


@pytest.mark.parametrize("content", [b"{}", b'{"replicationList":null}', b"null"])
def test_179_no_list(eureka: Eureka, expected: Expected, content: bytes) -> None:
    assert _send(eureka, content).status_code == expected(179, ours=400, real=500)


def test_179_nothing_at_all(eureka: Eureka) -> None:
    assert _send(eureka, b"").status_code == 400


def test_180_a_compressed_batch(eureka: Eureka, app: str, expected: Expected) -> None:
    """Spring's server reads no compressed body at all (case 58)."""
    batch = gzip.compress(_batch(_item(app, "Register", instanceInfo=registration(app, "i1"))))

    answer = _send(eureka, batch, **{"Content-Encoding": "gzip"})

    assert answer.status_code == expected(58, ours=200, real=400)
    assert eureka.cancel(app).status_code == expected(58, ours=200, real=404)


def test_180_a_full_batch(eureka: Eureka, app: str) -> None:
    """Spring's peers wait for 200 ms. The time is printed, and not asserted: such machines are busy."""
    ids = [f"i{number}" for number in range(250)]
    items = [_item(app, "Register", instanceInfo=registration(app, one)) | {"id": one} for one in ids]
    began_s = time.monotonic()

    answer = _send(eureka, _batch(*items))

    print(f"250 registrations took {(time.monotonic() - began_s) * 1000:.0f} ms")
    assert [one["statusCode"] for one in answer.json()["responseList"]] == [200] * 250
    cancelled = _send(eureka, _batch(*({"appName": app, "id": one, "action": "Cancel"} for one in ids)))
    assert [one["statusCode"] for one in cancelled.json()["responseList"]] == [200] * 250


def test_181_without_the_slash(eureka: Eureka) -> None:
    answer = eureka.send("POST", "peerreplication/batch", headers=BATCH, content=_batch())

    assert answer.json() == {"responseList": []}


def test_182_a_peers_word_on_the_status_counts(
    eureka: Eureka, app: str, replicate: Callable[..., list[Document]]
) -> None:
    eureka.given(app)
    info = registration(app, "i1", status="OUT_OF_SERVICE", lastDirtyTimestamp="2000")

    replicate(_item(app, "Register", instanceInfo=info))

    assert eureka.instance(app)["status"] == "OUT_OF_SERVICE"


def test_183_single_calls_of_a_peer(eureka: Eureka, app: str) -> None:
    path = instance_path(app, "i1")
    assert eureka.register(app, headers=REPLICATED).status_code == 204
    assert eureka.put(f"{path}?status=UP&lastDirtyTimestamp=1000", headers=REPLICATED).status_code == 200
    assert eureka.put(f"{path}/status?value=DOWN&lastDirtyTimestamp=1000", headers=REPLICATED).status_code == 200
    assert eureka.instance(app)["status"] == "DOWN"
    assert eureka.delete(f"{path}/status?value=UP&lastDirtyTimestamp=1000", headers=REPLICATED).status_code == 200
    assert eureka.instance(app)["status"] == "UP"
    assert eureka.delete(path, headers=REPLICATED).status_code == 200
    assert eureka.get(path).status_code == 404
