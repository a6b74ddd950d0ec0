"""Cases 102-121, 160 and 164: who is there, for whom, and has it changed?"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from .asking import Answer, ServiceCenter, Shop, assert_json, assert_ok, assert_refused


class Market(NamedTuple):
    """The shop with one instance in each service but the consumer."""

    shop: Shop
    of_s1: str
    of_s2: str
    of_closed: str
    of_open: str


@pytest.fixture
def market(sc: ServiceCenter, shop: Shop) -> Market:
    return Market(shop, *(sc.register(service) for service in (shop.s1, shop.s2, shop.closed, shop.open)))


def assert_finds(sc: ServiceCenter, answer: Answer, *instance_ids: str) -> None:
    assert answer.instance_ids() == set(instance_ids)


@pytest.mark.parametrize(
    "query",
    [
        pytest.param({}, id="case102-no-version"),
        pytest.param({"version": "1.0.0"}, id="case103-exact"),
        pytest.param({"version": "0%2B"}, id="case103-escaped-twice-by-go"),
        pytest.param({"version": "latest"}, id="case103-latest"),
        pytest.param({"version": "0.0.0.0+"}, id="case103-four-parts-by-java"),
        pytest.param({"version": "1.0.0-2.0.0"}, id="case103-range"),
        pytest.param({"rev": ""}, id="case110-empty-revision"),
        pytest.param({"global": "true"}, id="case117-global"),
    ],
)
def test_all_versions_are_found_whatever_is_asked_for(sc: ServiceCenter, market: Market, query: dict[str, Any]) -> None:
    answer = sc.find(market.shop.app, "prov", **query)

    assert_finds(sc, answer, market.of_s1, market.of_s2)
    assert {instance["version"] for instance in answer.instances()} == {"1.0.0", "2.0.0"}


def test_104_160_an_alias_finds_its_owner_only(sc: ServiceCenter, market: Market) -> None:
    app = market.shop.app

    assert_finds(sc, sc.find(app, f"{app}:prov"), market.of_s1)
    escaped = sc.get(f"instances?appId={app}&serviceName={app}%3Aprov&env=development")
    assert_finds(sc, escaped, market.of_s1)
    plain = sc.get(f"instances?appId={app}&serviceName={app}:prov&env=development")
    assert_finds(sc, plain, market.of_s1)


def test_105_106_the_consumers_environment_holds(sc: ServiceCenter, market: Market) -> None:
    app, consumer = market.shop.app, market.shop.consumer

    assert_refused(sc.find(app, "prov", env=""), 400012)
    assert_finds(sc, sc.find(app, "prov", env="", consumer=consumer), market.of_s1, market.of_s2)
    assert_finds(sc, sc.find(app, "prov", env="production", consumer=consumer), market.of_s1, market.of_s2)


def test_107_a_service_without_instances_is_found_empty(sc: ServiceCenter, shop: Shop) -> None:
    answer = sc.find(shop.app, "prov")

    assert_json(answer, {})
    assert answer.revision == "97784746be9a2d00f08bc72fe1ce5ff8c7d07ffe"
    assert sc.find(shop.app, "prov", rev=answer.revision).status == 304


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        pytest.param({"serviceName": "zzz"}, 400012, "provider does not exist", id="case108-unknown-name"),
        pytest.param({"env": "production"}, 400012, "provider does not exist", id="case105-another-environment"),
        pytest.param({"appId": ""}, 400001, "'FindInstancesRequest.AppId'", id="case114-empty-app"),
        pytest.param({"serviceName": ""}, 400001, "'FindInstancesRequest.ServiceName'", id="case114-empty-name"),
        pytest.param(
            {"serviceName": "a" * 290}, 400001, "'FindInstancesRequest.ServiceName'", id="case114-name-of-290"
        ),
        pytest.param({"env": "prod"}, 400001, "'FindInstancesRequest.Environment'", id="case114-unknown-environment"),
    ],
)
def test_nobody_is_found(sc: ServiceCenter, shop: Shop, changes: dict[str, str], code: int, text: str) -> None:
    query: dict[str, Any] = {"appId": shop.app, "serviceName": "prov", "env": "development"} | changes

    assert_refused(sc.get("instances", **query), code, text)


@pytest.mark.parametrize(
    ("consumer", "code", "text"),
    [
        pytest.param("nope", 400012, "Consumer[nope] does not exist.", id="case109-unknown"),
        pytest.param("a" * 65, 400001, "'FindInstancesRequest.ConsumerServiceId'", id="case109-65-characters"),
    ],
)
def test_an_unknown_consumer_finds_nobody(sc: ServiceCenter, shop: Shop, consumer: str, code: int, text: str) -> None:
    assert_refused(sc.find(shop.app, "prov", consumer=consumer), code, text)


def test_110_who_has_the_current_revision_hears_nothing_new(sc: ServiceCenter, market: Market) -> None:
    app = market.shop.app
    whole = sc.find(app, "prov")
    unchanged = sc.find(app, "prov", rev=whole.revision)
    unknown = sc.find(app, "prov", rev="abc")

    assert (unchanged.status, unchanged.body, unchanged.revision) == (304, b"", whole.revision)
    assert unchanged.header("Content-Type") is None
    assert (unknown.status, unknown.json(), unknown.revision) == (200, whole.json(), whole.revision)


def test_111_each_visible_change_makes_a_new_revision(sc: ServiceCenter, shop: Shop) -> None:
    revisions = [sc.find(shop.app, "prov").revision]

    def moved_on() -> None:
        answer = sc.find(shop.app, "prov", rev=revisions[-1])
        assert answer.status == 200
        assert answer.revision not in revisions

    kept = sc.register(shop.s1)
    sc.soon(moved_on)
    revisions.append(sc.find(shop.app, "prov").revision)
    leaves = sc.register(shop.s2)
    sc.soon(moved_on)
    revisions.append(sc.find(shop.app, "prov").revision)
    assert_ok(sc.put(f"microservices/{shop.s1}/instances/{kept}/properties", {"properties": {"a": "1"}}))
    sc.soon(moved_on)
    revisions.append(sc.find(shop.app, "prov").revision)
    assert_ok(sc.delete(f"microservices/{shop.s2}/instances/{leaves}"))
    sc.soon(moved_on)


def test_112_113_another_application_shows_when_it_says_so(sc: ServiceCenter, market: Market) -> None:
    app, consumer = market.shop.other_app, market.shop.consumer

    assert_json(sc.find(app, "other", consumer=consumer), {})
    assert_finds(sc, sc.find(app, "other"), market.of_closed)
    assert_finds(sc, sc.find(app, "open", consumer=consumer), market.of_open)


def test_115_tags_choose_among_services(sc: ServiceCenter, market: Market) -> None:
    assert_ok(sc.post(f"microservices/{market.shop.s1}/tags", {"tags": {"k1": "v1"}}))

    sc.soon(lambda: assert_finds(sc, sc.find(market.shop.app, "prov", tags="k1"), market.of_s1))


def test_115_a_service_without_the_tag_is_not_there(sc: ServiceCenter, market: Market) -> None:
    path = f"microservices/{market.shop.s1}/instances"
    detail = "provider instance does not exist"

    assert_json(sc.find(market.shop.app, "prov", tags="k1"), {})
    assert_refused(sc.get(path, tags="k1"), 400012, detail)
    assert_refused(sc.get(f"{path}/{market.of_s1}", tags="k1"), 400017, detail)


def test_116_a_reading_past_the_cache_is_whole(sc: ServiceCenter, market: Market) -> None:
    revision = sc.find(market.shop.app, "prov").revision
    answer = sc.find(market.shop.app, "prov", rev=revision, noCache="1")

    assert_finds(sc, answer, market.of_s1, market.of_s2)


def asked(app: str, name: str, rev: str = "") -> dict[str, Any]:
    """One entry of a batch."""
    return {"service": {"environment": "development", "appId": app, "serviceName": name}, "rev": rev}


def batch(sc: ServiceCenter, body: dict[str, Any], consumer: str = "", action: str = "query") -> Answer:
    headers = {"X-ConsumerId": consumer} if consumer else {}
    return sc.ask("POST", "instances/action", body, headers=headers, type=action)


def test_118_a_batch_sorts_its_entries(sc: ServiceCenter, market: Market) -> None:
    app = market.shop.app
    whole = sc.find(app, "prov")
    answer = batch(sc, {"services": [asked(app, "prov"), asked(app, "zzz"), asked(app, "prov", whole.revision)]})

    assert answer.status == 200, answer.text
    services = answer.json()["services"]
    assert set(answer.json()) == {"services"}
    [updated] = services["updated"]
    assert (updated["index"], updated["rev"]) == (0, whole.revision)
    assert {instance["instanceId"] for instance in updated["instances"]} == {market.of_s1, market.of_s2}
    [failed] = services["failed"]
    assert (failed["indexes"], failed["error"]["errorCode"]) == ([1], "400012")
    assert failed["error"]["errorMessage"] == "Micro-service does not exist"
    assert failed["error"]["detail"].startswith("Micro-service does not exist(Consumer[")
    assert services["notModified"] == [2]


def test_118_failures_of_one_kind_are_told_once(sc: ServiceCenter, shop: Shop) -> None:
    answer = batch(sc, {"services": [asked(shop.app, "y"), asked(shop.app, "z")]})

    [failed] = answer.json()["services"]["failed"]
    assert sorted(failed["indexes"]) == [0, 1]


def test_118_an_empty_service_has_no_list(sc: ServiceCenter, shop: Shop) -> None:
    answer = batch(sc, {"services": [asked(shop.app, "prov")]})

    revision = sc.find(shop.app, "prov").revision
    assert_json(answer, {"services": {"updated": [{"index": 0, "rev": revision}]}})


def test_118_a_batch_obeys_the_consumer(sc: ServiceCenter, market: Market) -> None:
    shop = market.shop
    entries = [asked(shop.other_app, "other"), asked(shop.other_app, "open")]
    answer = batch(sc, {"services": entries}, consumer=shop.consumer)

    found = {
        entry["index"]: [instance["instanceId"] for instance in entry.get("instances", [])]
        for entry in answer.json()["services"]["updated"]
    }
    assert found == {0: [], 1: [market.of_open]}


def test_119_a_batch_may_ask_for_instances(sc: ServiceCenter, market: Market) -> None:
    entries = [{"instance": {"serviceId": market.shop.s1, "instanceId": one}} for one in ("nope", market.of_s1)]
    answer = batch(sc, {"instances": entries})

    assert answer.status == 200, answer.text
    assert set(answer.json()) == {"instances"}
    [failed] = answer.json()["instances"]["failed"]
    assert (failed["indexes"], failed["error"]["errorCode"]) == ([0], "400017")
    [updated] = answer.json()["instances"]["updated"]
    assert updated["index"] == 1
    assert [instance["instanceId"] for instance in updated["instances"]] == [market.of_s1]


def test_119_an_instance_that_did_not_change_is_not_sent(sc: ServiceCenter, market: Market) -> None:
    one = {"serviceId": market.shop.s1, "instanceId": market.of_s1}
    revision = sc.get("microservices/{serviceId}/instances/{instanceId}".format(**one)).revision

    answer = batch(sc, {"instances": [{"instance": one, "rev": revision}]})
    assert_json(answer, {"instances": {"notModified": [0]}})


def test_118_the_consumer_of_a_batch_is_named_by_the_header(sc: ServiceCenter, market: Market) -> None:
    entries = [asked(market.shop.app, "prov")]
    in_body = batch(sc, {"consumerServiceId": "nope", "services": entries}).json()["services"]
    in_header = batch(sc, {"services": entries}, consumer="nope").json()["services"]

    assert [entry["index"] for entry in in_body["updated"]] == [0]
    [failed] = in_header["failed"]
    assert failed["error"]["detail"] == "Micro-service does not exist(Consumer[nope] does not exist.)"


@pytest.mark.parametrize(
    ("action", "body", "text"),
    [
        pytest.param("delete", {"services": [asked("a", "b")]}, "Invalid action: delete", id="case120-another-type"),
        pytest.param(
            "query", {"services": [], "instances": []}, "Required services or instances", id="case120-empty-lists"
        ),
        pytest.param("query", {}, "Required services or instances", id="case120-no-lists"),
        pytest.param("query", {"services": [{"rev": "x"}]}, "", id="case121-no-service"),
        pytest.param("query", {"instances": [{"rev": "x"}]}, "", id="case121-no-instance"),
        pytest.param("query", {"services": [asked("", "b")]}, "", id="case121-empty-app"),
    ],
)
def test_a_batch_outside_its_rules_is_refused(sc: ServiceCenter, action: str, body: dict[str, Any], text: str) -> None:
    assert_refused(batch(sc, body, action=action), 400001, text)


def test_118_go_chassis_asks_for_a_config_center_that_is_not_there(sc: ServiceCenter) -> None:
    """Each of its programs does so at start; it needs a 200."""
    entry = {"service": {"appId": "default", "serviceName": "CseConfigCenter", "version": "0+"}, "rev": "0"}
    answer = sc.post("instances/action?type=query&rev=0", {"services": [entry]})

    assert answer.status == 200
    assert [failed["error"]["errorCode"] for failed in answer.json()["services"]["failed"]] == ["400012"]


def test_164_java_chassis_3_reads_out_of_service_as_down(sc: ServiceCenter, shop: Shop) -> None:
    """It calls every instance that is not DOWN."""
    sc.register(shop.s1, status="OUTOFSERVICE")

    def status(user_agent: str) -> str:
        query: dict[str, Any] = {"appId": shop.app, "serviceName": "prov", "env": "development"}
        [found] = sc.get("instances", headers={"User-Agent": user_agent}, **query).instances()
        return str(found["status"])

    assert status("microservice-client/1.0.0") == sc.expected(ours="DOWN", real="OUTOFSERVICE")
    assert status("Go-http-client/1.1") == "OUTOFSERVICE"
