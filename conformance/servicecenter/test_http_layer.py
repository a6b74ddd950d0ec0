"""Cases 1-18: routing, refusals before any handler, response headers, tenants and the old v3 paths."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from .asking import ROUTER_TEXT_TYPE, Answer, ServiceCenter, Shop, assert_json, assert_ok, assert_refused, unique


def assert_not_found(answer: Answer) -> None:
    assert (answer.status, answer.header("Content-Type")) == (404, ROUTER_TEXT_TYPE)
    assert answer.body == b"404 page not found\n"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/nope", id="case001-unknown-path"),
        pytest.param("microservices/", id="case002-trailing-slash"),
        pytest.param("nope", id="case001-unknown-below-the-registry"),
        pytest.param("/v4/default/registry", id="case001-the-registry-itself"),
        pytest.param("/registry/v3", id="case001-v3-itself"),
        pytest.param("/v4/a%2Fb/registry/version", id="case002-escaped-slash-in-the-project"),
        pytest.param("/registry/v3/instances/status", id="case018-v4-only-path-in-v3"),
    ],
)
def test_an_unknown_path_is_answered_404_in_text(sc: ServiceCenter, path: str) -> None:
    answer = sc.get(path)

    assert_not_found(answer)
    assert answer.header("X-Content-Type-Options") == "nosniff"


@pytest.mark.parametrize("path", ["/v4/default/%72egistry/version", "/v4/a%20b/registry/microservices"])
def test_002_a_path_is_matched_decoded(sc: ServiceCenter, path: str) -> None:
    assert sc.get(path).status == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        pytest.param("PATCH", "microservices", {"GET", "POST", "DELETE"}, id="case003-patch"),
        pytest.param("HEAD", "microservices", {"GET", "POST", "DELETE"}, id="case003-head"),
        pytest.param("POST", "microservices/some-id", {"GET", "DELETE"}, id="case004-post-to-one-service"),
        pytest.param("PUT", "microservices/some-id/schemas", {"GET", "POST"}, id="case004-schemas"),
        pytest.param("POST", "microservices/some-id/schemas/x", {"GET", "PUT", "DELETE"}, id="case004-schema"),
        pytest.param("PUT", "microservices/some-id/tags", {"GET", "POST"}, id="case004-tags"),
        pytest.param("GET", "microservices/some-id/tags/k", {"PUT", "DELETE"}, id="case004-tag"),
        pytest.param("PUT", "microservices/some-id/instances", {"GET", "POST"}, id="case004-instances"),
        pytest.param("POST", "microservices/some-id/instances/x", {"GET", "DELETE"}, id="case004-instance"),
        pytest.param("GET", "dependencies", {"POST", "PUT"}, id="case004-dependencies"),
        pytest.param("GET", "heartbeats", {"PUT"}, id="case004-heartbeats"),
    ],
)
def test_another_method_is_answered_405_with_the_ones_allowed(
    sc: ServiceCenter, method: str, path: str, allowed: set[str]
) -> None:
    answer = sc.ask(method, path)

    assert answer.status == 405
    assert set((answer.header("Allow") or "").split(", ")) == allowed
    assert answer.body == (b"" if method == "HEAD" else b"Method Not Allowed\n")


@pytest.mark.parametrize("path", ["/v4/default/registry//microservices", "/v4/default/registry/x/../microservices"])
def test_005_a_path_that_is_not_clean_is_not_served(sc: ServiceCenter, path: str) -> None:
    answer = sc.get(path)

    assert answer.status in sc.expected(ours={400, 404}, real={301})
    assert answer.header("Location") == sc.expected(ours=None, real="/v4/default/registry/microservices")


REFUSED_URIS = [
    pytest.param("microservices?", id="case006-empty-query"),
    pytest.param("instances?appId=a1&serviceName=prov&x=http://h", id="case007-two-slashes-in-the-query"),
    pytest.param("microservices?x=1;", id="case008-last-character"),
    pytest.param("microservices?x=1@", id="case008-last-character-at"),
]


@pytest.mark.parametrize("path", REFUSED_URIS)
def test_a_uri_that_looks_wrong_is_refused(empty_project: ServiceCenter, path: str) -> None:
    answer = empty_project.get(path)

    assert answer.status == 400
    assert answer.text.startswith("Invalid Request URI")
    # The original acts all the same, and its answer follows the text.
    assert ("{" in answer.text) == empty_project.expected(ours=False, real=True)


def test_006_a_refused_post_does_not_act(empty_project: ServiceCenter, app: str) -> None:
    answer = empty_project.post("microservices?", {"service": {"appId": app, "serviceName": "new"}})

    assert answer.status == 400

    def number_of_services() -> None:
        services = empty_project.get("microservices").json().get("services", [])
        assert len(services) == empty_project.expected(ours=0, real=1)

    empty_project.soon(number_of_services)


@pytest.mark.parametrize(
    ("size", "status"), [pytest.param(2047, 200, id="case008-2047"), pytest.param(2048, 400, id="case008-2048")]
)
def test_a_uri_may_have_2047_bytes(sc: ServiceCenter, size: int, status: int) -> None:
    stem = sc.path("version?x=")
    answer = sc.get(stem + "x" * (size - len(stem)))

    assert answer.status == status
    assert answer.text.startswith("Invalid Request URI") == (status == 400)


def test_009_every_answer_names_the_server(sc: ServiceCenter, shop: Shop) -> None:
    """Also the ones that no handler wrote."""
    sc.register(shop.s1)
    revision = sc.find(shop.app, "prov").revision
    answers = {
        "json": sc.get("version"),
        "error": sc.get("microservices/unknown"),
        "not modified": sc.find(shop.app, "prov", rev=revision),
        "nothing": sc.put(f"microservices/{shop.s1}/properties", {"properties": {}}),
        "not found": sc.get("/nope"),
        "wrong method": sc.ask("PATCH", "microservices"),
        "refused": sc.get("microservices?"),
        "preflight": sc.ask("OPTIONS", "microservices", headers={"Origin": "http://ui"}),
    }

    named = {name: (answer.header("Server") or "").startswith("SERVICECENTER/") for name, answer in answers.items()}
    assert named == dict.fromkeys(answers, True)


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        pytest.param("microservices", "POST", ("*", "POST"), id="case010-known-path"),
        pytest.param("/nope", "PUT", ("*", "PUT"), id="case010-unknown-path"),
        pytest.param("microservices", "PATCH", (None, None), id="case010-method-not-served"),
    ],
)
def test_a_preflight_is_answered_on_any_path(
    sc: ServiceCenter, path: str, method: str, allowed: tuple[str | None, str | None]
) -> None:
    answer = sc.ask("OPTIONS", path, headers={"Origin": "http://ui", "Access-Control-Request-Method": method})

    assert (answer.status, answer.body) == (200, b"")
    allow = answer.header("Access-Control-Allow-Origin"), answer.header("Access-Control-Allow-Methods")
    assert allow == allowed


@pytest.mark.parametrize(("asked_for", "allowed"), [("X-ConsumerId", "x-consumerid"), ("X-Other", None)])
def test_010_a_preflight_allows_the_headers_of_the_api(sc: ServiceCenter, asked_for: str, allowed: str | None) -> None:
    headers = {
        "Origin": "http://ui",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": asked_for,
    }
    answer = sc.ask("OPTIONS", "microservices", headers=headers)

    assert (answer.status, answer.body) == (200, b"")
    named = answer.header("Access-Control-Allow-Headers")
    assert (named.lower() if named else named) == allowed


@pytest.mark.parametrize("path", ["microservices", "/nope"])
def test_010_options_without_an_origin_is_empty(sc: ServiceCenter, path: str) -> None:
    answer = sc.ask("OPTIONS", path)

    assert (answer.status, answer.body) == (200, b"")


def test_010_a_browser_may_read_any_answer(sc: ServiceCenter) -> None:
    answer = sc.get("version", headers={"Origin": "http://ui"})

    assert answer.header("Access-Control-Allow-Origin") == "*"
    assert "Origin" in answer.header_values("Vary")


def test_011_large_answers_are_compressed_when_asked_for(sc: ServiceCenter, app: str) -> None:
    large = sc.create_service(app, "large", properties={"filler": "x" * 1400})
    small = sc.create_service(app, "small")
    plain = sc.get(f"microservices/{large}")
    compressed = sc.get(f"microservices/{large}", headers={"Accept-Encoding": "gzip"})
    not_worth_it = sc.get(f"microservices/{small}", headers={"Accept-Encoding": "gzip"})

    assert [answer.header("Content-Encoding") for answer in (plain, compressed, not_worth_it)] == [None, "gzip", None]
    assert all("Accept-Encoding" in answer.header_values("Vary") for answer in (plain, compressed, not_worth_it))
    assert gzip.decompress(compressed.body) == plain.body


def test_012_json_is_compact(sc: ServiceCenter, shop: Shop) -> None:
    """The Go client looks for `"errorCode":"400012"` in the raw bytes."""
    sc.register(shop.s1, properties={"a": "b"})
    answers = [sc.get("microservices"), sc.find(shop.app, "prov"), sc.get("microservices/unknown"), sc.get("version")]

    for answer in answers:
        assert answer.header("Content-Type") == "application/json; charset=UTF-8"
        assert json.dumps(answer.json(), separators=(",", ":"), ensure_ascii=False) == answer.text


def test_013_header_names_are_read_in_any_case(sc: ServiceCenter, shop: Shop) -> None:
    sc.register(shop.s1)
    answer = sc.get("instances", headers={"x-consumerid": shop.consumer}, appId=shop.app, serviceName="prov")

    assert len(answer.instances()) == 1


def test_014_the_content_type_of_a_request_does_not_matter(sc: ServiceCenter, app: str) -> None:
    body = json.dumps({"service": {"appId": app, "serviceName": "plain"}}).encode()
    answer = sc.ask("POST", "microservices", body, headers={"Content-Type": "text/plain"})

    assert answer.status == 200


@pytest.mark.parametrize("level", ["domain", "project"])
def test_015_016_domains_and_projects_do_not_see_each_other(sc: ServiceCenter, app: str, level: str) -> None:
    elsewhere = (
        ServiceCenter(sc.url, sc.kind, headers={"X-Domain-Name": unique("domain")})
        if level == "domain"
        else ServiceCenter(sc.url, sc.kind, project=unique("project"))
    )
    elsewhere.create_service(app, "secret")
    key: dict[str, Any] = {"appId": app, "serviceName": "secret", "version": "1.0.0", "env": "development"}

    assert_refused(sc.get("existence", type="microservice", **key), 400012)
    assert elsewhere.get("existence", type="microservice", **key).status == 200


def test_017_v3_reads_what_v4_wrote(sc: ServiceCenter, shop: Shop) -> None:
    answer = sc.get(f"/registry/v3/microservices/{shop.s1}", headers={"X-Tenant-Name": "default"})

    assert_json(answer, {"service": sc.service(shop.s1)})


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        pytest.param("/registry/v3/", {"X-Domain-Name": "elsewhere"}, 400, id="case017-domain-header"),
        pytest.param(
            "/registry/v3/", {"X-Tenant-Name": "elsewhere", "X-Domain-Name": "default"}, 400, id="case017-tenant-wins"
        ),
        pytest.param("", {"X-Tenant-Name": "elsewhere"}, 200, id="case015-v4-reads-no-tenant-header"),
    ],
)
def test_the_domain_is_named_by_a_header(
    sc: ServiceCenter, shop: Shop, path: str, headers: dict[str, str], status: int
) -> None:
    assert sc.get(f"{path}microservices/{shop.s1}", headers=headers).status == status


def test_017_a_client_may_live_on_v3_alone(sc: ServiceCenter, app: str) -> None:
    """Every core call that has a v3 form, once."""
    v3 = "/registry/v3"
    created = sc.post(f"{v3}/microservices", {"service": {"appId": app, "serviceName": "old"}})
    service = created.json()["serviceId"]
    one = f"{v3}/microservices/{service}"
    sc.soon(lambda: sc.service(service))
    existence: dict[str, Any] = {"type": "microservice", "appId": app, "serviceName": "old", "version": "0.0.1"}
    sc.soon(lambda: assert_json(sc.get(f"{v3}/existence", **existence), {"serviceId": service}))
    assert_ok(sc.put(f"{one}/properties", {"properties": {"k": "v"}}))
    assert_ok(sc.put(f"{one}/schemas/x", {"schema": "text", "summary": "1a"}))
    sc.soon(lambda: assert_json(sc.get(f"{one}/schemas"), {"schemas": [{"schemaId": "x", "summary": "1a"}]}))
    assert_ok(sc.post(f"{one}/tags", {"tags": {"k1": "v1"}}))
    sc.soon(lambda: assert_json(sc.get(f"{one}/tags"), {"tags": {"k1": "v1"}}))
    instance = sc.register(service)
    assert_ok(sc.put(f"{one}/instances/{instance}/heartbeat"))
    assert_ok(sc.put(f"{one}/instances/{instance}/status", value="DOWN"))
    assert_ok(sc.put(f"{one}/instances/{instance}/properties", {"properties": {"p": "1"}}))
    beat = {"serviceId": service, "instanceId": instance}
    assert_json(sc.put(f"{v3}/heartbeats", {"instances": [beat]}), {"instances": [beat]})

    def finds_it() -> None:
        found = sc.get(f"{v3}/instances", appId=app, serviceName="old").instances()
        assert [(one["instanceId"], one["status"], one.get("properties")) for one in found] == [
            (instance, "DOWN", {"p": "1"})
        ]

    sc.soon(finds_it)
    assert_ok(sc.delete(f"{one}/instances/{instance}"))
    assert_ok(sc.delete(one, force="true"))
