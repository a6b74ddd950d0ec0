"""Cases 143-148: what operators and the front end are shown, and beside them the calls of `scctl`."""

from __future__ import annotations

from typing import Any

import pytest

from .asking import ROUTER_TEXT_TYPE, Answer, ServiceCenter, Shop, assert_json, assert_refused

GOVERN = "/v4/default/govern"
ADMIN = "/v4/default/admin"
EVERYTHING = f"{GOVERN}/microservices?options=all&withShared=true"


def details(answer: Answer) -> dict[str, dict[str, Any]]:
    """The services of a view, by their ids."""
    assert answer.status == 200, answer.text
    return {one["microService"]["serviceId"]: one for one in answer.json().get("allServicesDetail", [])}


def view(sc: ServiceCenter, shop: Shop, **query: str) -> dict[str, dict[str, Any]]:
    """What is shown of the services of one app."""
    return details(sc.get(f"{GOVERN}/microservices", appId=shop.app, **query))


def test_143_everything_is_shown_with_the_server_itself(sc: ServiceCenter) -> None:
    answer = sc.get(EVERYTHING)
    names = {one["microService"]["serviceName"] for one in details(answer).values()}

    assert "SERVICECENTER" in names
    assert answer.json()["statistics"]["services"]["count"] >= 1


def test_143_a_list_leaves_out_schema_ids_and_properties_of_instances(sc: ServiceCenter, app: str) -> None:
    service_id = sc.create_service(app, "svc", schemas=["x"], properties={"kept": "yes"})
    sc.register(service_id, properties={"zone": "z1"})
    sc.put(f"microservices/{service_id}/schemas/x", {"schema": "text", "summary": "ab12"})

    def is_complete() -> None:
        detail = details(sc.get(EVERYTHING))[service_id]
        assert detail["schemaInfos"] == [{"schemaId": "x", "summary": "ab12", "schema": "text"}]
        assert "schemas" not in detail["microService"]
        assert detail["microService"]["properties"] == {"kept": "yes"}
        assert ["properties" in one for one in detail["instances"]] == [False]

    sc.soon(is_complete)


def test_143_each_option_shows_its_part_and_no_other(sc: ServiceCenter, shop: Shop) -> None:
    sc.register(shop.s1)
    sc.put(f"microservices/{shop.s1}/schemas/x", {"schema": "text"})
    sc.post(f"microservices/{shop.s1}/tags", {"tags": {"k": "v"}})
    sc.find(shop.app, "prov", consumer=shop.consumer)

    def shows(options: str, *members: str) -> None:
        assert view(sc, shop, options=options)[shop.s1].keys() == {"microService", *members}

    for options, members in {
        "": (),
        "nonsense": (),
        "instances": ("instances",),
        "schemas,tags": ("schemaInfos", "tags"),
        "dependencies": ("consumers",),
    }.items():
        sc.soon(lambda options=options, members=members: shows(options, *members))  # type: ignore[misc]  # mypy infers no lambda with a default


def test_143_dependencies_lead_from_one_service_to_others(sc: ServiceCenter, shop: Shop) -> None:
    for name in ("prov", "cons"):
        sc.find(shop.app, name, consumer=shop.consumer)

    def are_shown() -> None:
        shown = view(sc, shop, options="dependencies")
        assert {one["serviceId"] for one in shown[shop.consumer]["providers"]} == {shop.s1, shop.s2}
        assert [one["serviceId"] for one in shown[shop.s1]["consumers"]] == [shop.consumer]
        assert "consumers" not in shown[shop.consumer], "in a list nobody depends on itself"

    sc.soon(are_shown)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({"env": "development"}, {"s1", "s2", "consumer"}),
        ({"env": "production"}, set()),
        ({"serviceName": "prov"}, {"s1", "s2"}),
        ({"serviceName": "none"}, set()),
        ({"property": "colour:red:dark"}, {"s1"}),
        ({"property": "colour:red"}, set()),
        ({"property": "colour"}, set()),
    ],
    ids=str,
)
def test_143_filters_narrow_the_list(sc: ServiceCenter, shop: Shop, query: dict[str, str], shown: set[str]) -> None:
    sc.put(f"microservices/{shop.s1}/properties", {"properties": {"colour": "red:dark", "a": "b"}})

    def is_narrowed() -> None:
        assert view(sc, shop, **query).keys() == {getattr(shop, name) for name in shown}

    sc.soon(is_narrowed)


def test_143_all_properties_given_must_be_there(sc: ServiceCenter, shop: Shop) -> None:
    sc.put(f"microservices/{shop.s1}/properties", {"properties": {"a": "1", "b": "2"}})
    path = f"{GOVERN}/microservices?appId={shop.app}&property=a:1&property=b:"

    sc.soon(lambda: _assert_ids(sc.get(path + "2"), shop.s1))
    sc.soon(lambda: _assert_ids(sc.get(path + "3")))


def _assert_ids(answer: Answer, *service_ids: str) -> None:
    assert details(answer).keys() == set(service_ids)


def test_144_statistics_alone_are_nothing_else(sc: ServiceCenter, shop: Shop) -> None:
    sc.register(shop.s1)
    answer = sc.get(f"{GOVERN}/microservices", options="statistics")

    assert answer.json().keys() == {"statistics"}
    assert answer.json()["statistics"].keys() == {"services", "instances", "apps"}


def test_144_versions_of_a_name_are_one_service(empty_project: ServiceCenter, app: str) -> None:
    sc = empty_project
    for version in ("1.0.0", "2.0.0"):
        sc.register(sc.create_service(app, "svc", version))
    sc.create_service(app, "idle")
    counted = {
        "services": {"count": 2, "onlineCount": 1},
        "instances": {"count": 2, "countByDomain": 2},
        "apps": {"count": 1},
    }

    sc.soon(lambda: assert_json(sc.get(f"/v4/{sc.project}/govern/statistics"), {"statistics": counted}))


def test_144_nothing_is_counted_without_a_number(empty_project: ServiceCenter) -> None:
    nothing = {"statistics": {"services": {}, "instances": {}, "apps": {}}}

    assert_json(empty_project.get(f"/v4/{empty_project.project}/govern/statistics"), nothing)
    assert_json(empty_project.get(f"/v4/{empty_project.project}/govern/microservices?options=all"), nothing)


@pytest.mark.parametrize("count_only", ["2", "true", "%201"])
def test_144_count_only_is_0_or_1(sc: ServiceCenter, count_only: str) -> None:
    answer = sc.get(f"{GOVERN}/microservices?countOnly={count_only}")

    assert_refused(answer, 400001, "parameter countOnly must be 1 or 0")


def test_145_counts_take_the_place_of_instances(sc: ServiceCenter, shop: Shop) -> None:
    sc.register(shop.s1)

    def are_counted() -> None:
        shown = view(sc, shop, options="instances", countOnly="1")
        assert shown[shop.s1].keys() == {"microService", "statics"}
        assert shown[shop.s1]["statics"] == {"instances": {"count": 1}}
        assert shown[shop.s2]["statics"] == {"instances": {}}

    sc.soon(are_counted)


def test_145_counting_nothing_leaves_an_empty_object(sc: ServiceCenter, shop: Shop) -> None:
    assert view(sc, shop, countOnly="1")[shop.s1]["statics"] == {}


def test_146_one_service_is_shown_with_all_its_versions(sc: ServiceCenter, shop: Shop) -> None:
    sc.register(shop.s1, properties={"zone": "z1"})
    sc.put(f"microservices/{shop.s1}/schemas/x", {"schema": "text", "summary": "ab12"})
    sc.post(f"microservices/{shop.s1}/tags", {"tags": {"k": "v"}})
    sc.find(shop.app, "prov", consumer=shop.consumer)

    def is_complete() -> None:
        detail = sc.get(f"{GOVERN}/microservices/{shop.s1}").json()["service"]
        assert set(detail["microServiceVersions"]) == {"1.0.0", "2.0.0"}
        assert detail["microService"]["schemas"] == ["x"]
        assert detail["instances"][0]["properties"] == {"zone": "z1"}
        assert detail["schemaInfos"] == [{"schemaId": "x", "summary": "ab12", "schema": "text"}]
        assert [one["serviceId"] for one in detail["consumers"]] == [shop.consumer]
        assert detail["tags"] == {"k": "v"}
        assert "providers" not in detail
        assert "statics" not in detail

    sc.soon(is_complete)


def test_146_one_service_may_be_shown_to_depend_on_itself(sc: ServiceCenter, shop: Shop) -> None:
    sc.find(shop.app, "cons", consumer=shop.consumer)

    def is_shown() -> None:
        detail = sc.get(f"{GOVERN}/microservices/{shop.consumer}").json()["service"]
        assert [one["serviceId"] for one in detail["providers"]] == [shop.consumer]
        assert [one["serviceId"] for one in detail["consumers"]] == [shop.consumer]

    sc.soon(is_shown)


def test_146_an_unknown_id_is_refused(sc: ServiceCenter) -> None:
    assert_refused(sc.get(f"{GOVERN}/microservices/nope"), 400012, "Service does not exist.")
    assert_refused(sc.get(f"{GOVERN}/microservices/{'x' * 65}"), 400001, "GetServiceRequest.ServiceId")


def test_147_an_empty_graph_leaves_nothing_out(empty_project: ServiceCenter) -> None:
    answer = empty_project.get(f"/v4/{empty_project.project}/govern/relations")

    assert_json(answer, {"nodes": None, "lines": None, "circles": None})


def test_147_a_graph_has_a_line_for_each_dependency(empty_project: ServiceCenter, app: str) -> None:
    sc = empty_project
    shop = Shop.create(sc, app)
    path = f"/v4/{sc.project}/govern/relations"
    alone = sc.get(path).json()
    sc.find(app, "prov", consumer=shop.consumer)

    def node(service_id: str, name: str, app: str = "", version: str = "") -> dict[str, str]:
        rest = {"type": "", "color": "", "position": ""}
        return {"id": service_id, "name": name, "appId": app, "version": version, **rest}

    def is_drawn() -> None:
        graph = sc.get(path).json()
        assert node(shop.s1, "prov", app, "1.0.0") in graph["nodes"]
        assert len(graph["nodes"]) == 5
        assert {line["to"]["id"] for line in graph["lines"] or ()} == {shop.s1, shop.s2}
        assert graph["lines"][0]["from"] == node(shop.consumer, "cons", app, "1.0.0")
        assert node(shop.s1, "prov") in [line["to"] for line in graph["lines"]]
        assert {name: graph["lines"][0][name] for name in ("type", "color", "descriptor")} == {
            "type": "",
            "color": "",
            "descriptor": "",
        }

    assert alone["lines"] is None
    sc.soon(is_drawn)


def test_147_the_server_itself_is_drawn_when_it_is_asked_for(sc: ServiceCenter, shop: Shop) -> None:
    def drawn(**query: str) -> set[str]:
        return {node["name"] for node in sc.get(f"{GOVERN}/relations", **query).json()["nodes"]}

    assert "SERVICECENTER" in drawn(withShared="true")
    assert "SERVICECENTER" not in drawn()


def test_148_apps_are_those_of_one_environment(sc: ServiceCenter, shop: Shop) -> None:
    apps = sc.get(f"{GOVERN}/apps", env="development").json()["appIds"]
    unnamed = sc.get(f"{GOVERN}/apps").json().get("appIds", [])

    assert {shop.app, shop.other_app} <= set(apps)
    assert apps.count(shop.app) == 1
    assert shop.app not in unnamed


def test_148_without_any_app_there_is_no_list(empty_project: ServiceCenter) -> None:
    assert_json(empty_project.get(f"/v4/{empty_project.project}/govern/apps"), {})


def test_148_an_unknown_environment_is_refused_for_apps_and_empty_for_services(sc: ServiceCenter) -> None:
    assert_refused(sc.get(f"{GOVERN}/apps", env="nonsense"), 400001, "GetAppsRequest.Environment")
    assert_json(sc.get(f"{GOVERN}/microservices", env="nonsense"), {})


@pytest.mark.parametrize("path", ["microservices", "microservices/x", "relations", "apps", "statistics"])
def test_143_views_are_read_only(sc: ServiceCenter, path: str) -> None:
    answer = sc.post(f"{GOVERN}/{path}", {})

    assert (answer.status, answer.header("Allow")) == (405, "GET")


@pytest.mark.parametrize("path", [GOVERN, f"{GOVERN}/", f"{GOVERN}/nope", "/registry/v3/govern/apps", ADMIN])
def test_143_there_is_nothing_beside_the_views(sc: ServiceCenter, path: str) -> None:
    answer = sc.get(path)

    assert (answer.status, answer.header("Content-Type")) == (404, ROUTER_TEXT_TYPE)
