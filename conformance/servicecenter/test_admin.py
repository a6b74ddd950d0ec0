"""What operators ask of the server itself: alarms, clusters, a dump of all records (scctl's `get` commands read it)."""

from __future__ import annotations

from typing import Any

import pytest

from .asking import EMPTY_TYPE, ServiceCenter, Shop, assert_json, assert_refused

ADMIN = "/v4/default/admin"


def dumped(sc: ServiceCenter, part: str) -> dict[str, Any]:
    """One part of the dump: key to value."""
    answer = sc.get(f"{ADMIN}/dump")
    assert answer.status == 200, answer.text
    entries = answer.json()["cache"][part]
    assert all({"key", "rev", "cluster"} <= entry.keys() <= {"key", "rev", "cluster", "value"} for entry in entries)
    assert {entry["cluster"] for entry in entries} == {"default"}
    return {entry["key"]: entry.get("value", "") for entry in entries}


def test_dump_holds_services_and_instances_under_their_keys(sc: ServiceCenter, shop: Shop) -> None:
    instance_id = sc.register(shop.s1, properties={"zone": "z1"})
    sc.post(f"microservices/{shop.s1}/tags", {"tags": {"k": "v"}})
    sc.put(f"microservices/{shop.s1}/schemas/x", {"schema": "text", "summary": "ab12"})
    path = f"default/default/development/{shop.app}"

    def are_dumped() -> None:
        service = dumped(sc, "services")[f"/cse-sr/ms/files/default/default/{shop.s1}"]
        assert (service["serviceName"], service["schemas"]) == ("prov", ["x"])
        assert dumped(sc, "serviceIndexes")[f"/cse-sr/ms/indexes/{path}/prov/1.0.0"] == shop.s1
        assert dumped(sc, "serviceAliases")[f"/cse-sr/ms/alias/{path}/{shop.app}:prov/1.0.0"] == shop.s1
        assert dumped(sc, "serviceTags")[f"/cse-sr/ms/tags/default/default/{shop.s1}"] == {"k": "v"}
        assert dumped(sc, "summaries")[f"/cse-sr/ms/schema-sum/default/default/{shop.s1}/x"] == "ab12"
        instance = dumped(sc, "instances")[f"/cse-sr/inst/files/default/default/{shop.s1}/{instance_id}"]
        assert instance == sc.instance(shop.s1, instance_id)

    sc.soon(are_dumped)


def test_dump_holds_dependencies_from_both_ends(sc: ServiceCenter, shop: Shop) -> None:
    sc.find(shop.app, "prov", consumer=shop.consumer)
    root, path = "/cse-sr/ms/dep-rules/default/default", f"development/{shop.app}"

    def are_dumped() -> None:
        rules = dumped(sc, "dependencyRules")
        (provider,) = rules[f"{root}/c/{path}/cons/1.0.0"]["Dependency"]
        (consumer,) = rules[f"{root}/p/{path}/prov/0.0.0+"]["Dependency"]
        assert (provider["serviceName"], provider["version"], provider["tenant"]) == (
            "prov",
            "0.0.0+",
            "default/default",
        )
        assert (consumer["serviceName"], consumer["version"], consumer["appId"]) == ("cons", "1.0.0", shop.app)

    sc.soon(are_dumped)


def test_dump_holds_other_tenants_too(sc: ServiceCenter, app: str) -> None:
    there = ServiceCenter(sc.url, sc.kind, "p2", {"X-Domain-Name": "t1"})
    service_id = there.create_service(app, "svc")

    def is_dumped() -> None:
        assert f"/cse-sr/ms/files/t1/p2/{service_id}" in dumped(sc, "services")

    sc.soon(is_dumped)


@pytest.mark.parametrize(
    ("options", "members"),
    [
        ("", {"cache"}),
        ("cache", {"cache"}),
        ("info", {"info"}),
        ("info,all", {"info", "cache"}),
        ("nonsense", set()),
    ],
)
def test_dump_tells_what_it_is_asked_for(sc: ServiceCenter, options: str, members: set[str]) -> None:
    answer = sc.get(f"{ADMIN}/dump", options=options)

    assert answer.status == 200
    assert answer.json().keys() == members


def test_dump_tells_all_that_it_is_asked_for(sc: ServiceCenter) -> None:
    """The original stops after one of them, now this, now that."""
    answer = sc.get(f"{ADMIN}/dump", options="info,cache")

    assert len(answer.json()) == sc.expected(ours=2, real=1)


def test_dump_names_the_version(sc: ServiceCenter) -> None:
    info = sc.get(f"{ADMIN}/dump", options="info").json()["info"]

    assert {"version", "buildTag", "os", "arch"} <= info.keys()
    assert info["version"] == sc.get("version").json()["version"]


@pytest.mark.parametrize("headers", [{"X-Domain-Name": "t1"}, {}], ids=["domain", "project"])
def test_dump_is_for_the_default_tenant_only(sc: ServiceCenter, headers: dict[str, str]) -> None:
    """The original falls over its own refusal, and raises an alarm."""
    path = f"{ADMIN}/dump" if headers else "/v4/p2/admin/dump"
    answer = sc.get(path, headers=headers)

    if sc.expected(ours=True, real=False):
        assert_refused(answer, 403001, "Required admin permission")
    else:
        assert_refused(answer, 500003, "nil pointer dereference")
        alarms = sc.get(f"{ADMIN}/alarms").json()["alarms"]
        assert [(one["id"], one["status"]) for one in alarms] == [("InternalError", "ACTIVATED")]
        sc.delete(f"{ADMIN}/alarms")


def test_alarms_are_none_while_all_is_well(sc: ServiceCenter) -> None:
    cleared = sc.delete(f"{ADMIN}/alarms")

    assert (cleared.status, cleared.header("Content-Type"), cleared.body) == (200, EMPTY_TYPE, b"")
    assert_json(sc.get(f"{ADMIN}/alarms"), {})


def test_clusters_say_where_records_live(sc: ServiceCenter) -> None:
    clusters = sc.get(f"{ADMIN}/clusters").json()["clusters"]

    assert clusters.keys() == {"default"}
    assert all("://" in address for address in clusters["default"])


def test_syncer_is_not_there(sc: ServiceCenter) -> None:
    """The original calls that an internal error, by which a monitor cannot tell it from one."""
    answer = sc.get("/v1/syncer/health")

    if sc.expected(ours=True, real=False):
        assert_json(answer, {"peers": []})
    else:
        assert_refused(answer, 500003, "sync config is empty")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("alarms", {"GET", "DELETE"}),
        ("clusters", {"GET"}),
        ("dump", {"GET"}),
    ],
)
def test_each_path_has_its_methods(sc: ServiceCenter, path: str, allowed: set[str]) -> None:
    answer = sc.put(f"{ADMIN}/{path}", {})

    assert answer.status == 405
    assert set((answer.header("Allow") or "").split(", ")) == allowed
