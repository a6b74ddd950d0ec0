"""Cases 140-142, 149 and 154-163 but for 161 and 162: health, versions, raw bytes, many at once, odd requests."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .asking import ROUTER_TEXT_TYPE, ServiceCenter, Shop, assert_json, assert_ok


@pytest.mark.parametrize("path", ["health", "/health"])
def test_140_health_names_the_server_itself(sc: ServiceCenter, path: str) -> None:
    """Clients learn further addresses from it."""
    instances = sc.get(path).instances()

    assert len(instances) >= 1
    assert instances[0]["status"] == "UP"
    assert instances[0]["endpoints"][0].startswith("rest://")
    assert sc.service(instances[0]["serviceId"])["serviceName"] == "SERVICECENTER"


@pytest.mark.parametrize(("path", "api_version"), [("version", "4.0.0"), ("/version", "3.0.0")])
def test_141_each_api_has_its_version(sc: ServiceCenter, path: str, api_version: str) -> None:
    answer = sc.get(path)

    assert answer.status == 200
    assert answer.json()["apiVersion"] == api_version
    assert answer.json()["version"]


def test_142_readiness_is_200_or_unknown(sc: ServiceCenter) -> None:
    """Clients take anything else for a dead server."""
    assert sc.get("health/readiness").status == sc.expected(ours=200, real=404)


def test_149_without_accounts_there_are_no_tokens(sc: ServiceCenter) -> None:
    answer = sc.post("/v4/token", {"name": "root", "password": "secret"})

    assert (answer.status, answer.header("Content-Type")) == (404, ROUTER_TEXT_TYPE)


def test_149_without_accounts_a_token_is_ignored(sc: ServiceCenter) -> None:
    assert sc.get("microservices", headers={"Authorization": "Bearer bogus"}).status == 200


def test_154_one_service_created_twice_at_once_is_one_service(sc: ServiceCenter, app: str) -> None:
    body = {"service": {"appId": app, "serviceName": "svc"}}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: sc.post("microservices", body), range(8)))

    assert {answer.status for answer in answers} == {200}
    assert len({answer.json()["serviceId"] for answer in answers}) == 1


def test_155_heartbeats_may_come_all_at_once(sc: ServiceCenter, shop: Shop) -> None:
    path = f"microservices/{shop.s1}/instances/{sc.register(shop.s1)}/heartbeat"
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: sc.put(path), range(100)))

    for answer in answers:
        assert_ok(answer)


def test_157_the_code_stands_in_the_raw_bytes(sc: ServiceCenter) -> None:
    """The Go client looks for this text."""
    assert b'"errorCode":"400012"' in sc.get("microservices/nope").body


@pytest.mark.parametrize("list_or_find", ["list", "find"])
def test_158_the_revision_header_is_spelt_in_one_way(sc: ServiceCenter, shop: Shop, list_or_find: str) -> None:
    """Java-Chassis 3 looks it up in a map that minds the case."""
    whole = sc.get(f"microservices/{shop.s1}/instances") if list_or_find == "list" else sc.find(shop.app, "prov")

    assert "X-Resource-Revision" in dict(whole.headers)


def test_159_a_body_may_come_in_chunks(sc: ServiceCenter, shop: Shop) -> None:
    body = json.dumps({"serviceIds": [shop.s1], "force": True}).encode()
    answer = sc.delete("microservices", iter([body[:20], body[20:]]))

    assert_json(answer, {"services": [{"serviceId": shop.s1}]})


def test_163_rules_are_dropped(sc: ServiceCenter, app: str) -> None:
    """The original never answers when nothing else comes with the service."""
    body = {"service": {"appId": app, "serviceName": "svc"}, "rules": [{}]}

    if sc.expected(ours=False, real=True):
        with pytest.raises(TimeoutError):
            sc.ask("POST", "microservices", body, timeout_s=2)
    else:
        assert set(sc.post("microservices", body).json()) == {"serviceId"}


@pytest.mark.parametrize("query", [{}, {"env": "development"}, {"env": "production"}])
def test_140_the_server_itself_may_be_found(sc: ServiceCenter, query: dict[str, Any]) -> None:
    """Java-Chassis and Go look for further addresses under this name, in whatever environment they are."""
    answer = sc.get("instances", appId="default", serviceName="SERVICECENTER", **query)

    assert len(answer.instances()) >= 1


def test_139_rules_are_gone(sc: ServiceCenter, shop: Shop) -> None:
    assert sc.get(f"microservices/{shop.s1}/rules").status == 404
