"""Cases 64-73: schemas, one by one and the whole set."""

from __future__ import annotations

from typing import Any

import pytest

from .asking import ServiceCenter, assert_json, assert_ok, assert_refused, unique


def assert_lists(sc: ServiceCenter, service_id: str, *schemas: dict[str, str], **query: Any) -> None:
    """The list has no order."""
    answer = sc.get(f"microservices/{service_id}/schemas", **query)
    assert answer.status == 200, answer.text
    listed = answer.json().get("schemas", [])
    assert sorted(listed, key=lambda schema: schema["schemaId"]) == list(schemas)


@pytest.fixture
def service_id(sc: ServiceCenter, app: str) -> str:
    """A service that has declared the schema x and holds the content of none."""
    return sc.create_service(app, "svc", schemas=["x"])


@pytest.fixture
def bare(sc: ServiceCenter, app: str) -> str:
    """A service without schemas."""
    return sc.create_service(app, "bare")


def test_064_a_schema_is_stored_with_its_summary(sc: ServiceCenter, bare: str) -> None:
    assert_ok(sc.put(f"microservices/{bare}/schemas/y", {"schema": "s", "summary": "ab12"}))

    def is_stored() -> None:
        answer = sc.get(f"microservices/{bare}/schemas/y")
        assert_json(answer, {"schema": "s"})
        assert ("X-Schema-Summary", "ab12") in answer.headers
        assert sc.service(bare)["schemas"] == ["y"]

    sc.soon(is_stored)


def test_064_storing_again_overwrites(sc: ServiceCenter, bare: str) -> None:
    for content, summary in (("old", "a1"), ("new", "b2")):
        assert_ok(sc.put(f"microservices/{bare}/schemas/y", {"schema": content, "summary": summary}))

    sc.soon(lambda: assert_lists(sc, bare, {"schemaId": "y", "summary": "b2", "schema": "new"}, withSchema="1"))


def test_065_the_summary_may_be_absent(sc: ServiceCenter, bare: str) -> None:
    assert_ok(sc.put(f"microservices/{bare}/schemas/y", {"schema": "s"}))

    def is_stored() -> None:
        answer = sc.get(f"microservices/{bare}/schemas/y")
        assert_json(answer, {"schema": "s"})
        assert answer.header("X-Schema-Summary") == ""

    sc.soon(is_stored)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"schema": ""}, id="case066-empty-content"),
        pytest.param({}, id="case066-no-content"),
        pytest.param({"schema": "s", "summary": "ab-12"}, id="case066-dash-in-summary"),
        pytest.param({"schema": "s", "summary": "a" * 129}, id="case066-summary-of-129"),
        pytest.param(b"", id="case066-empty-body"),
    ],
)
def test_a_schema_outside_its_rules_is_refused(sc: ServiceCenter, bare: str, body: Any) -> None:
    assert_refused(sc.put(f"microservices/{bare}/schemas/y", body), 400001)


def test_067_content_is_listed_when_asked_for(sc: ServiceCenter, bare: str) -> None:
    assert_ok(sc.put(f"microservices/{bare}/schemas/y", {"schema": "s", "summary": "ab12"}))

    sc.soon(lambda: assert_lists(sc, bare, {"schemaId": "y", "summary": "ab12"}))
    sc.soon(lambda: assert_lists(sc, bare, {"schemaId": "y", "summary": "ab12"}, withSchema="0"))
    sc.soon(lambda: assert_lists(sc, bare, {"schemaId": "y", "summary": "ab12", "schema": "s"}, withSchema="1"))
    answer = sc.get(f"microservices/{bare}/schemas", withSchema="2")
    assert_refused(answer, 400001, "parameter withSchema must be 1 or 0")


def test_067_a_service_without_schemas_lists_nothing(sc: ServiceCenter, bare: str) -> None:
    assert_json(sc.get(f"microservices/{bare}/schemas"), {})


def test_068_a_declared_schema_is_listed_without_content(sc: ServiceCenter, service_id: str) -> None:
    assert_lists(sc, service_id, {"schemaId": "x"})
    assert_refused(sc.get(f"microservices/{service_id}/schemas/x"), 400016)


def test_069_the_whole_set_is_replaced(sc: ServiceCenter, service_id: str) -> None:
    assert_ok(sc.put(f"microservices/{service_id}/schemas/x", {"schema": "s", "summary": "a1"}))
    y = {"schemaId": "y", "schema": "t", "summary": "b2"}
    assert_ok(sc.post(f"microservices/{service_id}/schemas", {"schemas": [y]}))

    sc.soon(lambda: assert_lists(sc, service_id, {"schemaId": "y", "summary": "b2"}))

    def only_y() -> None:
        assert sc.service(service_id)["schemas"] == ["y"]

    sc.soon(only_y)
    sc.soon(lambda: assert_refused(sc.get(f"microservices/{service_id}/schemas/x"), 400016))


@pytest.mark.parametrize(
    "schemas",
    [
        pytest.param([{"schemaId": "y", "schema": "t", "summary": ""}], id="case070-empty-summary"),
        pytest.param([{"schemaId": "y", "summary": "b2"}], id="case070-no-content"),
        pytest.param([{"schema": "t", "summary": "b2"}], id="case070-no-id"),
        pytest.param([], id="case070-none"),
    ],
)
def test_a_set_with_a_fault_is_refused(sc: ServiceCenter, bare: str, schemas: list[dict[str, str]]) -> None:
    answer = sc.post(f"microservices/{bare}/schemas", {"schemas": schemas})

    assert_refused(answer, 400001, "Invalid request.")


@pytest.mark.parametrize("number", [100, 101])
def test_070_a_set_has_at_most_100_schemas(sc: ServiceCenter, bare: str, number: int) -> None:
    schemas = [{"schemaId": f"x{n}", "schema": "s", "summary": "a1"} for n in range(number)]
    answer = sc.post(f"microservices/{bare}/schemas", {"schemas": schemas})

    assert answer.status == (200 if number == 100 else 400)


def test_070_a_schema_given_twice_counts_once(sc: ServiceCenter, bare: str) -> None:
    """The original's etcd refuses two writes of one key."""
    schemas = [{"schemaId": "y", "schema": content, "summary": "a1"} for content in ("first", "last")]
    answer = sc.post(f"microservices/{bare}/schemas", {"schemas": schemas})

    assert answer.status == sc.expected(ours=200, real=500)
    if sc.expected(ours=True, real=False):
        assert_lists(sc, bare, {"schemaId": "y", "summary": "a1", "schema": "last"}, withSchema="1")


@pytest.mark.parametrize(
    ("method", "schema_id", "code", "text"),
    [
        pytest.param("PUT", "-x", 400001, "'ModifySchemaRequest.SchemaId'", id="case064-dash-first"),
        pytest.param("PUT", "a" * 161, 400001, "'ModifySchemaRequest.SchemaId'", id="case064-161-characters"),
        pytest.param("GET", "a%20b", 400001, "'GetSchemaRequest.SchemaId'", id="case064-blank"),
        pytest.param("GET", "nope", 400016, "schema ref not found.", id="case068-unknown"),
        pytest.param("DELETE", "nope", 400016, "schema ref not found.", id="case071-unknown"),
    ],
)
def test_a_schema_is_not_there(sc: ServiceCenter, bare: str, method: str, schema_id: str, code: int, text: str) -> None:
    body = {"schema": "s"} if method == "PUT" else None

    assert_refused(sc.ask(method, f"microservices/{bare}/schemas/{schema_id}", body), code, text)


def test_071_a_deleted_schema_stays_declared(sc: ServiceCenter, bare: str) -> None:
    """Java-Chassis 2 depends on the declared list."""
    assert_ok(sc.put(f"microservices/{bare}/schemas/y", {"schema": "s", "summary": "a1"}))
    sc.soon(lambda: assert_lists(sc, bare, {"schemaId": "y", "summary": "a1"}))
    assert_ok(sc.delete(f"microservices/{bare}/schemas/y"))

    sc.soon(lambda: assert_lists(sc, bare, {"schemaId": "y"}))
    assert_refused(sc.delete(f"microservices/{bare}/schemas/y"), 400016)


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE", "POST"])
def test_072_an_unknown_service_has_no_schemas(sc: ServiceCenter, method: str) -> None:
    schema = {"schemaId": "y", "schema": "s", "summary": "a1"}
    if method == "POST":
        answer = sc.post("microservices/nope/schemas", {"schemas": [schema]})
    else:
        answer = sc.ask(method, "microservices/nope/schemas/y", schema if method == "PUT" else None)

    assert_refused(answer, 400012)


def test_073_an_escaped_slash_splits_a_segment(sc: ServiceCenter, bare: str) -> None:
    answer = sc.put(f"microservices/{bare}/schemas/a%2Fb", {"schema": "s"})

    assert (answer.status, answer.body) == (404, b"404 page not found\n")


def test_161_java_chassis_uploads_what_is_listed_without_summary(sc: ServiceCenter) -> None:
    """Its start: the environment is empty, the schema is declared, then uploaded."""
    service_id = sc.create_service(unique("app"), "svc", environment="", schemas=["x"])
    assert_lists(sc, service_id, {"schemaId": "x"})
    assert_ok(sc.put(f"microservices/{service_id}/schemas/x", {"schema": "s", "summary": "a1"}))

    sc.soon(lambda: assert_lists(sc, service_id, {"schemaId": "x", "summary": "a1"}))
