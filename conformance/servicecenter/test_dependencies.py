"""Cases 122-127: who uses whom, noted by finding and by telling."""

from __future__ import annotations

from typing import Any

import pytest

from .asking import Answer, ServiceCenter, Shop, assert_ok, assert_refused


def told(shop: Shop, *providers: dict[str, str], consumer: str = "cons") -> dict[str, Any]:
    """The body that says on whom the consumer depends."""
    key = {"environment": "development", "appId": shop.app, "serviceName": consumer, "version": "1.0.0"}
    return {"dependencies": [{"consumer": key, "providers": list(providers)}]}


def provider(app: str, name: str, **members: str) -> dict[str, str]:
    return {"environment": "development", "appId": app, "serviceName": name, **members}


def assert_taken(answer: Answer) -> None:
    assert (answer.status, answer.body) == (200, b"")
    assert ("Deprecation", 'version="v4"') in answer.headers


def assert_providers(sc: ServiceCenter, shop: Shop, *service_ids: str) -> None:
    assert sc.providers(shop.consumer) == set(service_ids)


def test_122_who_finds_a_service_depends_on_all_its_versions(sc: ServiceCenter, shop: Shop) -> None:
    sc.find(shop.app, "prov", consumer=shop.consumer)

    sc.soon(lambda: assert_providers(sc, shop, shop.s1, shop.s2))
    for service_id in (shop.s1, shop.s2):
        assert sc.consumers(service_id) == {shop.consumer}


def test_122_a_batch_counts_as_finding(sc: ServiceCenter, shop: Shop) -> None:
    entries = [{"service": provider(shop.app, "prov")}, {"service": provider(shop.other_app, "open")}]
    sc.ask("POST", "instances/action?type=query", {"services": entries}, headers={"X-ConsumerId": shop.consumer})

    sc.soon(lambda: assert_providers(sc, shop, shop.s1, shop.s2, shop.open))


def test_122_finding_without_a_name_of_ones_own_is_not_noted(sc: ServiceCenter, shop: Shop) -> None:
    sc.find(shop.app, "prov")
    sc.find(shop.other_app, "other", consumer=shop.consumer)
    sc.find(shop.other_app, "open", consumer=shop.consumer)

    sc.soon(lambda: assert_providers(sc, shop, shop.open))
    assert sc.consumers(shop.s1) == set()


def test_122_a_service_may_consume_itself(sc: ServiceCenter, shop: Shop) -> None:
    """Only `noSelf=1` leaves it out, and it stands in nobody's way."""
    sc.find(shop.app, "cons", consumer=shop.consumer)
    path = f"microservices/{shop.consumer}/consumers"

    sc.soon(lambda: assert_providers(sc, shop, shop.consumer))
    asked = {no_self: sc.get(path, noSelf=no_self).json().get("consumers", []) for no_self in ("0", "1", "true")}
    assert {no_self: len(consumers) for no_self, consumers in asked.items()} == {"0": 1, "1": 0, "true": 1}
    assert_ok(sc.delete(f"microservices/{shop.consumer}"))


@pytest.mark.parametrize(
    ("side", "text"), [("providers", "Consumer does not exist"), ("consumers", "Provider does not exist")]
)
def test_123_an_unknown_service_has_no_relations(sc: ServiceCenter, side: str, text: str) -> None:
    assert_refused(sc.get(f"microservices/nope/{side}"), 400012, text)


def test_124_a_dependency_may_be_told(sc: ServiceCenter, shop: Shop) -> None:
    assert_taken(sc.post("dependencies", told(shop, provider(shop.other_app, "open"))))

    sc.soon(lambda: assert_providers(sc, shop, shop.open))
    assert sc.consumers(shop.open) == {shop.consumer}


def test_125_a_dependency_may_be_taken_back(sc: ServiceCenter, shop: Shop) -> None:
    sc.post("dependencies", told(shop, provider(shop.other_app, "open")))
    sc.soon(lambda: assert_providers(sc, shop, shop.open))
    assert_taken(sc.put("dependencies", told(shop)))

    sc.soon(lambda: assert_providers(sc, shop))


def test_125_telling_anew_replaces_the_whole_set(sc: ServiceCenter, shop: Shop) -> None:
    sc.post("dependencies", told(shop, provider(shop.other_app, "open")))
    sc.soon(lambda: assert_providers(sc, shop, shop.open))
    assert_taken(sc.put("dependencies", told(shop, provider(shop.app, "prov"))))

    sc.soon(lambda: assert_providers(sc, shop, shop.s1, shop.s2))


@pytest.mark.parametrize("version", ["1.0.0+", "1.0.0", "1.0.0-2.0.0", "latest", ""])
def test_126_a_version_rule_is_taken_as_any_version(sc: ServiceCenter, shop: Shop, version: str) -> None:
    assert_taken(sc.post("dependencies", told(shop, provider(shop.app, "prov", version=version))))

    sc.soon(lambda: assert_providers(sc, shop, shop.s1, shop.s2))


def test_126_a_rule_of_four_parts_is_refused(sc: ServiceCenter, shop: Shop) -> None:
    answer = sc.post("dependencies", told(shop, provider(shop.app, "prov", version="0.0.0.0+")))

    assert_refused(answer, 400001)


def test_127_an_unknown_consumer_is_refused(sc: ServiceCenter, shop: Shop) -> None:
    answer = sc.post("dependencies", told(shop, provider(shop.app, "prov"), consumer="zzz"))

    assert_refused(answer, 400012, f"Consumer development/{shop.app}/zzz/1.0.0 does not exist.")


def test_127_one_provider_is_told_once(sc: ServiceCenter, shop: Shop) -> None:
    answer = sc.post("dependencies", told(shop, provider(shop.app, "prov"), provider(shop.app, "prov")))

    assert_refused(answer, 400001, "Duplicate provider")


def test_126_adding_needs_a_provider(sc: ServiceCenter, shop: Shop) -> None:
    assert_refused(sc.post("dependencies", told(shop)), 400001)
