"""Cases 19-28: is there such a service, is there such a schema?"""

from __future__ import annotations

from typing import Any

import pytest

from .asking import ServiceCenter, Shop, assert_json, assert_ok, assert_refused


def named(shop: Shop, **changes: str) -> dict[str, Any]:
    """The question for S1, with members changed; an empty one is left out."""
    asked = {"type": "microservice", "appId": shop.app, "serviceName": "prov", "version": "1.0.0", "env": "development"}
    return {name: value for name, value in (asked | changes).items() if value}


def test_019_a_service_is_answered_with_its_id_alone(sc: ServiceCenter, shop: Shop) -> None:
    assert_json(sc.get("existence", **named(shop)), {"serviceId": shop.s1})
    assert_json(sc.get("existence", **named(shop, version="2.0.0")), {"serviceId": shop.s2})


def test_020_a_service_exists_under_its_alias(sc: ServiceCenter, shop: Shop) -> None:
    assert_json(sc.get("existence", **named(shop, serviceName=f"{shop.app}:prov")), {"serviceId": shop.s1})


def test_020_a_name_comes_before_an_alias(sc: ServiceCenter, app: str) -> None:
    named_so = sc.create_service(app, "both")
    sc.create_service(app, "another", alias="both")
    asked: dict[str, Any] = {"appId": app, "serviceName": "both", "version": "1.0.0", "env": "development"}

    assert_json(sc.get("existence", type="microservice", **asked), {"serviceId": named_so})


def test_021_the_refusal_of_an_unknown_name_repeats_the_question(sc: ServiceCenter, shop: Shop) -> None:
    assert_refused(
        sc.get("existence", **named(shop, serviceName="zzz")),
        400012,
        f"development/{shop.app}/zzz/1.0.0 does not exist.",
    )


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        pytest.param({"version": "9.9.9"}, 400026, "/prov/9.9.9 version mismatch.", id="case022-another-version"),
        pytest.param({"version": "latest"}, 400001, "GetExistenceRequest.Version", id="case023-latest"),
        pytest.param({"version": "1.0.0+"}, 400001, "GetExistenceRequest.Version", id="case023-from-a-version-on"),
        pytest.param({"version": "1.0.0-2.0.0"}, 400001, "GetExistenceRequest.Version", id="case023-range"),
        pytest.param({"appId": ""}, 400001, "GetExistenceRequest.AppId", id="case024-no-app"),
        pytest.param({"type": ""}, 400001, "Only micro-service and schema can be used as type.", id="case025-no-type"),
        pytest.param(
            {"type": "rule"}, 400001, "Only micro-service and schema can be used as type.", id="case025-another-type"
        ),
        pytest.param({"env": ""}, 400012, "/prov/1.0.0 does not exist.", id="case026-no-env"),
    ],
)
def test_a_service_is_not_found(sc: ServiceCenter, shop: Shop, changes: dict[str, str], code: int, text: str) -> None:
    assert_refused(sc.get("existence", **named(shop, **changes)), code, text)


def test_027_a_schema_is_answered_with_its_summary(sc: ServiceCenter, shop: Shop) -> None:
    assert_ok(sc.put(f"microservices/{shop.s1}/schemas/calc", {"schema": "text", "summary": "ab12"}))

    def exists() -> None:
        answer = sc.get("existence", type="schema", serviceId=shop.s1, schemaId="calc")
        assert_json(answer, {"serviceId": shop.s1, "schemaId": "calc"})
        assert ("X-Schema-Summary", "ab12") in answer.headers

    sc.soon(exists)


def test_028_an_unknown_schema_is_told_from_an_unknown_service(sc: ServiceCenter, shop: Shop) -> None:
    known = sc.get("existence", type="schema", serviceId=shop.s1, schemaId="nope")
    unknown = sc.get("existence", type="schema", serviceId="nope", schemaId="nope")

    assert_refused(known, 400016, "schema ref not found.")
    assert_refused(unknown, 400012, "service does not exist.")
