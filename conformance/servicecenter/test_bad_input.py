"""What is not the JSON that a handler expects: a 400 with a code, wherever it comes in, and never a 500.

Cases 32 and 86 for all calls with a body, and the limit of section 1.1 on bodies that have none of their own.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from .asking import Answer, ServiceCenter, assert_json, assert_ok, assert_refused, body_of_size, unique


class Target(NamedTuple):
    """A service and its instance, left alone by every test here."""

    service: str
    instance: str


@pytest.fixture(scope="module")
def target(sc: ServiceCenter) -> Target:
    service = sc.create_service(unique("app"), "svc")
    return Target(service, sc.register(service))


CALLS = [
    pytest.param("POST", "microservices", id="case032-create"),
    pytest.param("DELETE", "microservices", id="case062-delete-many"),
    pytest.param("PUT", "microservices/{service}/properties", id="case051-properties"),
    pytest.param("PUT", "microservices/{service}/schemas/x", id="case066-schema"),
    pytest.param("POST", "microservices/{service}/schemas", id="case070-schemas"),
    pytest.param("POST", "microservices/{service}/tags", id="case077-tags"),
    pytest.param("POST", "microservices/{service}/instances", id="case086-register"),
    pytest.param("PUT", "microservices/{service}/instances/{instance}/properties", id="case097-instance-properties"),
    pytest.param("PUT", "heartbeats", id="case094-heartbeats"),
    pytest.param("PUT", "instances/status", id="case101-bulk-status"),
    pytest.param("POST", "instances/action?type=query", id="case120-batch"),
    pytest.param("POST", "dependencies", id="case126-dependencies"),
]
NOT_JSON = {
    "empty": b"",
    "blanks": b"  ",
    "text": b"instance",
    "cut off": b'{"a":',
    "a list": b"[]",
    "a text": b'"x"',
    "a number": b"1",
    "two documents": b"{}{}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a comment": b"{} // nothing",
    "not a number": b'{"a":NaN}',
    "deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep and cut off": b"[" * 100_000,
}


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_what_is_not_an_object_is_refused(sc: ServiceCenter, target: Target, method: str, path: str) -> None:
    answers = {name: sc.ask(method, path.format(**target._asdict()), body) for name, body in NOT_JSON.items()}

    codes = {name: answer.json()["errorCode"] for name, answer in answers.items()}
    assert codes == dict.fromkeys(NOT_JSON, "400001")
    assert {answer.status for answer in answers.values()} == {400}


@pytest.mark.parametrize(
    "members",
    [
        '"serviceName":1',
        '"schemas":"x"',
        '"schemas":[1]',
        '"properties":["k"]',
        '"properties":{"k":1}',
        '"framework":"x"',
        '"level":[]',
        '"description":"a\nb"',
    ],
)
def test_032_a_member_of_another_type_is_refused(sc: ServiceCenter, app: str, members: str) -> None:
    body = f'{{"service":{{"appId":"{app}","serviceName":"svc",{members}}}}}'

    assert_refused(sc.post("microservices", body.encode()), 400001)


@pytest.mark.parametrize(
    "members",
    [
        '"endpoints":"x"',
        '"endpoints":[1]',
        '"endpoints":[null]',
        '"properties":{"k":1}',
        '"healthCheck":"x"',
        '"healthCheck":{"mode":"push","interval":"5"}',
        '"healthCheck":{"mode":"push","interval":5.0}',
        '"healthCheck":{"mode":"push","interval":99999999999}',
        '"healthCheck":{"mode":"push","interval":5,"times":-1}',
        '"dataCenterInfo":[]',
    ],
)
def test_086_a_member_of_another_type_is_refused(sc: ServiceCenter, target: Target, members: str) -> None:
    body = f'{{"instance":{{"hostName":"h",{members}}}}}'

    assert_refused(sc.post(f"microservices/{target.service}/instances", body.encode()), 400001)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"instances":"x"}', id="case094-a-text"),
        pytest.param(b'{"instances":[1]}', id="case094-a-number"),
        pytest.param(b'{"instances":[{"serviceId":1}]}', id="case094-a-number-for-an-id"),
    ],
)
def test_heartbeats_of_another_type_are_refused(sc: ServiceCenter, body: bytes) -> None:
    assert_refused(sc.put("heartbeats", body), 400001)


def test_094_a_heartbeat_may_not_be_null(sc: ServiceCenter) -> None:
    """The original stumbles over it; ours may refuse it or tell that there is no such instance."""
    assert sc.put("heartbeats", {"instances": [None]}).status in sc.expected(ours={200, 400}, real={500})


@pytest.mark.parametrize("body", [b'{"services":[null]}', b'{"instances":[null]}', b'{"services":"x"}'])
def test_121_entries_of_another_type_are_refused(sc: ServiceCenter, body: bytes) -> None:
    assert_refused(sc.post("instances/action?type=query", body), 400001)


@pytest.mark.parametrize(
    "members",
    [
        pytest.param(r'"foo":[{"a":[]},null,1e5]', id="case047-unknown-member-of-any-shape"),
        pytest.param('"level":"FRONT","level":"BACK"', id="case047-a-member-twice"),
        pytest.param(r'"description":"\u0000"', id="case043-nul-character"),
        pytest.param('"properties":{"k":null}', id="case047-null-in-a-map"),
    ],
)
def test_what_go_reads_is_accepted(sc: ServiceCenter, app: str, members: str) -> None:
    body = f'{{"service":{{"appId":"{app}","serviceName":"svc",{members}}}}}'
    answer = sc.post("microservices", body.encode())

    assert answer.status == 200, answer.text


@pytest.mark.parametrize("text", [rb"\ud800", b"\xff"], ids=["lone-surrogate", "not-utf-8"])
def test_032_text_is_unicode(sc: ServiceCenter, app: str, text: bytes) -> None:
    """The original stores a replacement character in its place."""
    body = b'{"service":{"appId":"%s","serviceName":"svc","properties":{"k":"%s"}}}' % (app.encode(), text)

    assert sc.post("microservices", body).status == sc.expected(ours=400, real=200)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        pytest.param("microservices/%ff", 400012, id="case048-id-not-utf-8"),
        pytest.param("microservices/%20", 400001, id="case048-id-of-a-blank"),
        pytest.param("instances?appId=%ff&serviceName=a", 400001, id="case114-app-not-utf-8"),
        pytest.param("instances?appId=%zz&serviceName=a", 400001, id="case114-app-badly-escaped"),
        pytest.param("instances?appId=a;serviceName=b&c=d", 400001, id="case114-semicolon"),
    ],
)
def test_odd_escapes_are_refused(sc: ServiceCenter, path: str, code: int) -> None:
    assert_refused(sc.get(path), code)


def test_054_other_bodies_may_have_2_mib(sc: ServiceCenter, target: Target) -> None:
    def put(size: int) -> Answer:
        body = body_of_size(size, lambda filler: {"schema": "s", "unknown": filler})
        return sc.put(f"microservices/{target.service}/schemas/y", body)

    assert_ok(put(2 * 1024 * 1024))
    assert_refused(put(2 * 1024 * 1024 + 1), 400001, "request body too large")


def test_064_a_schema_may_be_large(sc: ServiceCenter, target: Target) -> None:
    """The original's etcd takes no more than 1.5 MiB."""
    content = "x" * 1_900_000
    answer = sc.put(f"microservices/{target.service}/schemas/large", {"schema": content, "summary": "a1"})

    assert answer.status == sc.expected(ours=200, real=500)
    if sc.expected(ours=True, real=False):
        assert_json(sc.get(f"microservices/{target.service}/schemas/large"), {"schema": content})
