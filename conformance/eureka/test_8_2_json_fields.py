"""Registration as JSON: which values are taken (cases 40, 43-62; 52 and 56 in test_8_2_poison.py)."""

from __future__ import annotations

import gzip
import json
from typing import Any

import httpx
import pytest

from conformance.eureka.client import (
    AMAZON_CLASS,
    DATA_CENTER_CLASS,
    Document,
    Eureka,
    amazon,
    registration,
)
from conformance.eureka.conftest import Expected, Refused

CANNOT_PARSE = b'{"error": "cannot parse request body"}'


def test_043_a_data_center_without_class(eureka: Eureka, app: str, expected: Expected) -> None:
    answer = eureka.register(app, dataCenterInfo={"name": "MyOwn"})

    assert answer.status_code == expected(43, ours=204, real=400)
    if answer.status_code == 204:
        assert eureka.instance(app)["dataCenterInfo"]["@class"] == DATA_CENTER_CLASS


def test_044_the_class_that_fargo_sends(eureka: Eureka, app: str) -> None:
    eureka.given(app, dataCenterInfo={"name": "MyOwn", "@class": "com.netflix.appinfo.MyDataCenterInfo"})

    assert eureka.instance(app)["dataCenterInfo"] == {"@class": DATA_CENTER_CLASS, "name": "MyOwn"}


@pytest.mark.parametrize(
    "data_center",
    [
        pytest.param({"@class": "com.example.Evil", "name": "MyOwn"}, id="case045-class"),
        pytest.param({"@class": DATA_CENTER_CLASS, "name": "Azure"}, id="case046-name"),
    ],
)
def test_data_centers_that_nobody_knows(eureka: Eureka, app: str, data_center: Document) -> None:
    assert _is_parse_error(eureka.register(app, dataCenterInfo=data_center))


def test_047_metadata_outside_amazon(eureka: Eureka, app: str, expected: Expected) -> None:
    own = {"@class": DATA_CENTER_CLASS, "name": "MyOwn", "metadata": {"a": "b"}}

    answer = eureka.register(app, dataCenterInfo=own)

    assert answer.status_code == expected(47, ours=204, real=400)
    if answer.status_code == 204:
        assert "metadata" not in eureka.instance(app)["dataCenterInfo"]


def test_048_amazon_is_echoed_in_its_order(eureka: Eureka, app: str) -> None:
    eureka.given(app, dataCenterInfo=amazon(metadata={"instance-id": "i-1", "availability-zone": "z"}))

    data_center = eureka.instance(app)["dataCenterInfo"]

    assert list(data_center) == ["@class", "name", "metadata"]
    assert data_center == amazon(metadata={"instance-id": "i-1", "availability-zone": "z"})


def test_049_without_an_id_amazons_counts(eureka: Eureka, app: str) -> None:
    eureka.given(app, without=["instanceId"], dataCenterInfo=amazon(metadata={"instance-id": "i-1"}))

    assert eureka.renew(app, "i-1").status_code == 200


def test_050_amazons_id_is_filled_in(eureka: Eureka, app: str) -> None:
    eureka.given(app, dataCenterInfo=amazon(metadata={"availability-zone": "z"}))

    assert eureka.instance(app)["dataCenterInfo"]["metadata"]["instance-id"] == "i1"


def test_051_amazons_metadata_before_its_name(eureka: Eureka, app: str, expected: Expected) -> None:
    backwards = {"@class": AMAZON_CLASS, "metadata": {"instance-id": "i-1"}, "name": "Amazon"}

    answer = eureka.register(app, dataCenterInfo=backwards)

    assert answer.status_code == expected(51, ours=204, real=400)
    if answer.status_code == 204:
        assert eureka.instance(app)["dataCenterInfo"] == amazon(metadata={"instance-id": "i-1"})


@pytest.mark.parametrize(
    ("follows", "real"), [pytest.param("vipAddress", 204, id="sibling"), pytest.param(None, 400, id="last")]
)
def test_051_amazon_without_metadata(
    eureka: Eureka, app: str, follows: str | None, real: int, expected: Expected
) -> None:
    """The original's reader takes what follows dataCenterInfo for its metadata."""
    document = registration(app, "i1", without=["dataCenterInfo"])
    answer = eureka.post(app, {"instance": _with(document, "dataCenterInfo", amazon(), before=follows)})

    assert answer.status_code == expected(51, ours=204, real=real)
    if answer.status_code == 204:
        instance = eureka.instance(app)
        assert instance.get("vipAddress") == expected(51, ours="v1", real=None)
        assert instance["dataCenterInfo"]["metadata"] == {"instance-id": "i1"}


BROKEN = {
    "object": "{}",
    "nothing": "",
    "array": "[]",
    "text": '"x"',
    "second-root": '{"instance":{},"x":1}',
    "cut-off": '{"instance":{"instanceId":"i1"',
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_053_broken_json(eureka: Eureka, app: str, body: str) -> None:
    assert _is_parse_error(eureka.post(app, body))


def test_040_an_instance_without_application(eureka: Eureka, app: str) -> None:
    assert _is_parse_error(eureka.register(app, without=["app"]))


def test_053_a_second_root_beside_a_good_instance(eureka: Eureka, app: str) -> None:
    assert _is_parse_error(eureka.post(app, {"instance": registration(app, "i1"), "x": 1}))


def test_054_broken_json_with_a_charset(eureka: Eureka, app: str, expected: Expected) -> None:
    answer = eureka.post(app, "{}", {"Content-Type": "application/json;charset=UTF-8"})

    assert answer.status_code == 400
    assert b"cannot parse request body" in answer.content
    assert answer.content.startswith(b"<error>") is expected(54, ours=False, real=True)


def test_055_null(eureka: Eureka, app: str, expected: Expected) -> None:
    assert eureka.post(app, "null").status_code == expected(55, ours=400, real=500)


def test_056_an_empty_array_for_metadata_in_the_middle(eureka: Eureka, app: str) -> None:
    document = _with(registration(app, "i1"), "metadata", [], before="vipAddress")

    assert eureka.post(app, {"instance": document}).status_code == 400


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("text/plain", 415),
        ("text/json", 415),
        ("text/xml", 415),
        ("application/json; charset=utf-16", 415),
        ("application/json; charset=US-ASCII", 415),
        ("APPLICATION/JSON", 204),
        ("application/json; charset=ISO-8859-1", 204),
        ('application/json; charset="utf-8"', 204),
    ],
)
def test_057_content_types(eureka: Eureka, app: str, content_type: str, status: int, refused: Refused) -> None:
    answer = eureka.register(app, headers={"Content-Type": content_type})

    if status == 415:
        refused(answer, 415)
    assert answer.status_code == status


def test_057_no_content_type(eureka: Eureka, app: str, refused: Refused) -> None:
    body = json.dumps({"instance": registration(app, "i1")}).encode()

    refused(eureka.send("POST", f"apps/{app}", content=body), 415)


@pytest.mark.parametrize(("before", "after"), [("\ufeff", ""), ("", " and more")], ids=["bom", "text-after"])
def test_057_what_stands_around_the_json(eureka: Eureka, app: str, before: str, after: str) -> None:
    body = json.dumps({"instance": registration(app, "i1")})

    assert eureka.post(app, f"{before}{body}{after}".encode()).status_code == 204


def test_058_a_chunked_body(eureka: Eureka, app: str) -> None:
    body = json.dumps({"instance": registration(app, "i1")}).encode()

    assert eureka.post(app, iter([body[:20], body[20:]])).status_code == 204


def test_058_a_gzipped_body(eureka: Eureka, app: str, expected: Expected) -> None:
    body = gzip.compress(json.dumps({"instance": registration(app, "i1")}).encode())

    answer = eureka.post(app, body, {"Content-Encoding": "gzip"})

    assert answer.status_code == expected(58, ours=204, real=400)


@pytest.mark.parametrize(
    "value", ["bar", [1], ["b"], [True]], ids=["case059-scalar", "case060-number", "case060-text", "case060-boolean"]
)
@pytest.mark.parametrize("before", ["status", "vipAddress", None])
def test_unknown_fields(eureka: Eureka, app: str, value: Any, before: str | None) -> None:
    answer = eureka.post(app, {"instance": _with(registration(app, "i1"), "foo", value, before=before)})

    assert answer.status_code == 204
    assert "foo" not in eureka.instance(app)


@pytest.mark.parametrize(
    ("value", "real_before_status", "real_before_vip", "real_last"),
    [
        pytest.param([1, 2], 400, 400, 400, id="numbers"),
        pytest.param({"x": 1}, 400, 400, 204, id="object"),
        pytest.param({}, 400, 400, 204, id="empty-object"),
        pytest.param([], 204, 400, 400, id="empty-array"),
        pytest.param([{}], 204, 400, 400, id="array-of-empty-object"),
        pytest.param([{"a": 1}], 204, 400, 400, id="array-of-object"),
    ],
)
def test_060_unknown_structures(
    eureka: Eureka,
    app: str,
    value: Any,
    real_before_status: int,
    real_before_vip: int,
    real_last: int,
    expected: Expected,
) -> None:
    """The original loses its place: it may take the following fields for the unknown one's."""
    document = registration(app, "i1", status="DOWN")
    for before, real in (("status", real_before_status), ("vipAddress", real_before_vip), (None, real_last)):
        answer = eureka.post(app, {"instance": _with(document, "foo", value, before=before)})

        assert answer.status_code == expected(60, ours=204, real=real), before
        if answer.status_code == 204:
            instance = eureka.instance(app)
            is_whole = expected(60, ours=True, real=before is None)
            assert (instance["status"], instance["port"]["$"]) == (("DOWN", 8080) if is_whole else ("UP", 7001))
            assert eureka.cancel(app).status_code == 200


@pytest.mark.parametrize("status", ["up", "BOGUS", 5])
def test_061_statuses_that_nobody_knows(eureka: Eureka, app: str, status: Any) -> None:
    eureka.given(app, status=status)

    assert eureka.instance(app)["status"] == "UNKNOWN"
    assert eureka.renew(app).status_code == 404


def test_061_no_status_is_up(eureka: Eureka, app: str) -> None:
    eureka.given(app, without=["status"])

    assert eureka.instance(app)["status"] == "UP"


@pytest.mark.parametrize(
    "override",
    [
        pytest.param({"overriddenstatus": "OUT_OF_SERVICE"}, id="lower-case"),
        pytest.param({"overriddenStatus": "OUT_OF_SERVICE"}, id="camel-case"),
        pytest.param({"overriddenStatus": "DOWN", "overriddenstatus": "OUT_OF_SERVICE"}, id="lower-case-later"),
        pytest.param({"overriddenstatus": "DOWN", "overriddenStatus": "OUT_OF_SERVICE"}, id="camel-case-later"),
    ],
)
def test_062_a_registration_may_carry_an_override(eureka: Eureka, app: str, override: dict[str, str]) -> None:
    unique_id = f"{app}-1"
    eureka.given(app, unique_id, **override)

    for _ in range(2):
        instance = eureka.instance(app, unique_id)
        assert (instance["status"], instance["overriddenStatus"]) == ("OUT_OF_SERVICE", "OUT_OF_SERVICE")
        assert eureka.renew(app, unique_id).status_code == 200


def _with(document: Document, key: str, value: Any, *, before: str | None) -> Document:
    """The document with one field more, put before another one or last."""
    changed: Document = {}
    for name, old in document.items():
        if name == before:
            changed[key] = value
        changed[name] = old
    return changed if before else changed | {key: value}


def _is_parse_error(answer: httpx.Response) -> bool:
    """The original says no more than this; a better server may add what does not fit."""
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    return answer.content == CANNOT_PARSE or json.loads(answer.content)["error"].startswith("cannot parse request body")
