"""Governance configuration under /v1/{project}/gov: stored by us, by the original in a servicecomb-kie behind it.

An original without one stores nothing; then these tests are skipped, all but the first. One that has it needs its
shipped `conf/grc.json`, and in `conf/app.yaml` the address: `gov: {kie: {type: kie, endpoint: http://…}}`.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from .asking import WITHOUT_KIE, Answer, ServiceCenter, assert_ok, assert_refused, keeps_policies, unique

GROUP = {"alias": "pays", "matches": [{"name": "all", "apiPath": {"prefix": "/pay"}, "method": ["GET", "POST"]}]}
SPECS: dict[str, dict[str, Any]] = {
    "match-group": GROUP,
    "retry": {"maxAttempts": 3, "retryOnSame": 1},
    "rate-limiting": {"rate": "10"},
    "loadbalance": {"rule": "RoundRobin"},
    "circuit-breaker": {"minimumNumberOfCalls": 10},
    "instance-isolation": {"minimumNumberOfCalls": 10},
    "fault-injection": {"percentage": 12.5, "type": "delay"},
    "bulkhead": {"maxConcurrentCalls": 1000},
}


@pytest.fixture
def gov(sc: ServiceCenter) -> ServiceCenter:
    """The server, seen from a project without policies."""
    if not keeps_policies(sc):
        pytest.skip(WITHOUT_KIE)
    return ServiceCenter(sc.url, sc.kind, unique("project"))


def path(sc: ServiceCenter, kind: str, policy_id: str = "") -> str:
    return f"/v1/{sc.project}/gov/{kind}" + (f"/{policy_id}" if policy_id else "")


def policy(kind: str = "retry", name: str = "pay", **changes: Any) -> dict[str, Any]:
    return {"name": name, "selector": {"app": "shop", "environment": "production"}, "spec": SPECS[kind], **changes}


def create(sc: ServiceCenter, kind: str = "retry", **changes: Any) -> str:
    answer = sc.post(path(sc, kind), policy(kind, **changes))
    assert answer.status == 200, answer.text
    assert answer.json().keys() == {"id"}
    policy_id: str = answer.json()["id"]
    return policy_id


def listed(sc: ServiceCenter, kind: str, environment: str = "all", **query: str) -> list[dict[str, Any]]:
    answer = sc.get(path(sc, kind), environment=environment, **query)
    assert answer.status == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def ids(sc: ServiceCenter, kind: str, **query: str) -> set[str]:
    return {one["id"] for one in listed(sc, kind, **query)}


def test_policies_without_a_place_for_them_are_not_kept(sc: ServiceCenter) -> None:
    """An original without a servicecomb-kie answers a question with an empty body that it calls JSON."""
    answer = sc.get("/v1/nobody-s/gov/retry")

    assert answer.status == 200
    assert answer.body == b"[]" or sc.expected(ours=False, real=answer.body == b"")


@pytest.mark.parametrize("kind", SPECS)
def test_policies_are_read_as_they_were_written(gov: ServiceCenter, kind: str) -> None:
    policy_id = create(gov, kind)
    answer = gov.get(path(gov, kind, policy_id))
    read = answer.json()

    assert read == {
        "name": "pay",
        "id": policy_id,
        "status": "enabled",
        "creatTime": read["creatTime"],
        "updateTime": read["creatTime"],
        "selector": {"app": "shop", "environment": "production"},
        "kind": kind,
        "spec": SPECS[kind],
    }
    assert isinstance(read["creatTime"], int)
    assert answer.text.startswith('{\n  "name": "pay",\n  "id": ')
    assert listed(gov, kind) == [read]


def test_policies_have_ids_that_follow_from_their_names(gov: ServiceCenter) -> None:
    policy_id = create(gov)
    assert re.fullmatch("[0-9a-f]{64}", policy_id)
    assert_ok(gov.delete(path(gov, "retry", policy_id)))

    assert create(gov) == policy_id
    assert create(gov, name="other") != policy_id
    assert create(gov, selector={"app": "shop"}) != policy_id


def test_policies_of_one_name_and_selector_are_one(gov: ServiceCenter) -> None:
    create(gov)

    assert_refused(gov.post(path(gov, "retry"), policy()), 409001, "kv already exists")
    assert len(listed(gov, "retry")) == 1


def test_policies_change_their_spec_and_status_only(gov: ServiceCenter) -> None:
    policy_id = create(gov)
    changed = {"name": "new", "selector": {}, "status": "disabled", "spec": {"maxAttempts": 9}}
    assert_ok(gov.put(path(gov, "retry", policy_id), changed))
    read = gov.get(path(gov, "retry", policy_id)).json()

    assert (read["name"], read["status"], read["spec"]) == ("pay", "disabled", {"maxAttempts": 9})
    assert read["selector"] == {"app": "shop", "environment": "production"}
    assert read["updateTime"] >= read["creatTime"]


def test_policies_keep_their_status_when_none_is_given(gov: ServiceCenter) -> None:
    policy_id = create(gov)
    gov.put(path(gov, "retry", policy_id), {"status": "disabled", "spec": {"maxAttempts": 9}})
    gov.put(path(gov, "retry", policy_id), {"name": "pay", "spec": {"maxAttempts": 8}})

    assert gov.get(path(gov, "retry", policy_id)).json()["status"] == "disabled"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("kind", ["retry", "match-group"])
def test_policies_that_are_not_there_are_told_so(gov: ServiceCenter, kind: str, method: str) -> None:
    body = policy(kind) if method == "PUT" else None

    assert_refused(gov.ask(method, path(gov, kind, "0" * 64), body), 404001, "can not find any key value")


def test_policies_are_asked_for_by_app_and_environment(gov: ServiceCenter) -> None:
    shop = create(gov)
    bank = create(gov, selector={"app": "bank", "environment": "production"})
    unnamed = create(gov, selector={"app": "shop", "environment": ""})
    nobody_s = create(gov, selector={})

    assert ids(gov, "retry") == {shop, bank, unnamed, nobody_s}
    assert ids(gov, "retry", environment="production") == {shop, bank}
    assert ids(gov, "retry", environment="production", app="shop") == {shop}
    assert ids(gov, "retry", app="shop") == {shop, unnamed}
    assert ids(gov, "retry", environment="") == {unnamed}
    assert ids(gov, "retry", environment="", app="nobody") == set()


def test_policies_come_newest_first(gov: ServiceCenter) -> None:
    first, second, third = (create(gov, name=name) for name in ("b", "c", "a"))
    before = [one["id"] for one in listed(gov, "retry")]
    gov.put(path(gov, "retry", second), {"name": "c", "spec": {"maxAttempts": 9}})

    assert before == [third, second, first]
    assert [one["id"] for one in listed(gov, "retry")] == [second, third, first]


def test_policies_are_enabled_at_first(gov: ServiceCenter) -> None:
    policy_id = create(gov, status="disabled")

    assert gov.get(path(gov, "retry", policy_id)).json()["status"] == "enabled"


def test_policies_have_one_of_two_statuses(gov: ServiceCenter) -> None:
    policy_id = create(gov)

    assert_refused(gov.put(path(gov, "retry", policy_id), policy(status="on")), 400001)


def test_policies_may_be_changed_by_their_spec_alone(gov: ServiceCenter) -> None:
    """Over a body without any of the other members the original falls."""
    answer = gov.put(path(gov, "retry", create(gov)), {"spec": {"maxAttempts": 9}})

    assert answer.status == gov.expected(ours=200, real=500)


def test_policies_are_of_their_own_kind_only(gov: ServiceCenter) -> None:
    policy_id = create(gov)

    assert gov.get(path(gov, "bulkhead", policy_id)).status == gov.expected(ours=404, real=200)


def test_policies_keep_names_with_dots(gov: ServiceCenter) -> None:
    create(gov, name="a.b")

    assert listed(gov, "retry")[0]["name"] == gov.expected(ours="a.b", real="b")


def test_policies_of_unknown_kinds_are_none(gov: ServiceCenter) -> None:
    answer = gov.get(path(gov, "nonsense"))

    assert (answer.status, answer.body) == (200, b"[]")


def test_policies_are_displayed_with_their_group(gov: ServiceCenter) -> None:
    create(gov, "match-group")
    create(gov, "match-group", name="bare")
    for kind in ("rate-limiting", "retry"):
        create(gov, kind)
    create(gov, "retry", name="of-no-group")
    displayed = {one["matchGroup"]["name"]: one for one in listed(gov, "display")}

    assert displayed.keys() == {"pay", "bare"}
    assert displayed["bare"].keys() == {"matchGroup"}
    assert displayed["pay"]["matchGroup"]["kind"] == "match-group"
    assert {one["kind"] for one in displayed["pay"]["policies"]} == {"rateLimiting", "retry"}


def test_policies_go_with_their_group(gov: ServiceCenter) -> None:
    group = create(gov, "match-group")
    create(gov, "retry")
    kept = create(gov, "retry", selector={"app": "bank"})
    assert_ok(gov.delete(path(gov, "match-group", group)))

    assert listed(gov, "match-group") == []
    assert ids(gov, "retry") == {kept}


def test_policies_alone_leave_their_group(gov: ServiceCenter) -> None:
    group, retry = create(gov, "match-group"), create(gov, "retry")
    assert_ok(gov.delete(path(gov, "retry", retry)))

    assert ids(gov, "match-group") == {group}


def test_groups_without_a_name_are_given_one(gov: ServiceCenter) -> None:
    create(gov, "match-group", name="")

    assert re.fullmatch("scene-[0-9a-z]{4}", listed(gov, "match-group")[0]["name"])


@pytest.mark.parametrize(
    ("kind", "spec", "fault"),
    [
        ("nonsense", {}, "not support kind[nonsense] yet"),
        ("display", {}, "not support kind[display] yet"),
        ("retry", {}, "illegal policy[retry] spec, msg: retry.maxAttempts in body is required"),
        ("retry", None, "retry.maxAttempts in body is required"),
        (
            "retry",
            {"maxAttempts": 1, "retryOnSame": -1},
            "retry.retryOnSame in body should be greater than or equal to 0",
        ),
        (
            "retry",
            {"maxAttempts": 1, "retryOnSame": "1"},
            'retry.retryOnSame in body must be of type integer: "string"',
        ),
        (
            "retry",
            {"maxAttempts": 1, "retryOnSame": 1.5},
            'retry.retryOnSame in body must be of type integer: "number"',
        ),
        ("loadbalance", {"rule": ""}, "loadbalance.rule in body should be at least 1 chars long"),
        ("fault-injection", {"percentage": True}, "fault-injection.percentage in body must be of type number"),
        ("match-group", {"alias": "a", "matches": []}, "match-group.matches in body should have at least 1 items"),
        ("match-group", {"alias": "a", "matches": [{}]}, "match-group.matches.name in body is required"),
        ("match-group", {"alias": "a", "matches": ["x"]}, "match-group.matches in body must be of type object"),
        (
            "match-group",
            {"alias": "a", "matches": [{"name": "n", "method": ["HEAD"]}]},
            "match-group.matches.method in body should be one of [GET POST DELETE PUT PATCH]",
        ),
        (
            "match-group",
            {"alias": "a", "matches": [{"name": "n", "apiPath": {}}]},
            "match-group.matches.apiPath in body should have at least 1 properties",
        ),
    ],
)
def test_policies_that_fit_no_kind_are_refused(gov: ServiceCenter, kind: str, spec: Any, fault: str) -> None:
    written = {"name": "pay", "spec": spec}

    assert_refused(gov.post(path(gov, kind), written), 400001, fault)
    assert_refused(gov.put(path(gov, kind, "0" * 64), written), 400001, fault)
    assert listed(gov, "retry") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a b"},
        {"name": "x" * 2_100},
        {"selector": {"app": "a b"}},
        {"selector": {"a/b": "x"}},
        {"selector": {f"l{number}": "x" for number in range(7)}},
        {"spec": {"maxAttempts": 1, "text": "x" * 131_073}},
    ],
    ids=["blank-in-name", "long-name", "blank-in-label", "slash-in-label", "seven-labels", "large-spec"],
)
def test_policies_beyond_the_limits_are_refused(gov: ServiceCenter, changes: dict[str, Any]) -> None:
    assert_refused(gov.post(path(gov, "retry"), policy(**changes)), 400001)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"name":1}', b'{"selector":[]}', b'{"selector":{"app":1}}', b'{"spec":[]}', b'{"spec":1}'],
)
def test_policies_that_cannot_be_read_are_refused(gov: ServiceCenter, body: bytes) -> None:
    assert_refused(gov.post(path(gov, "retry"), body), 400001)
    assert_refused(gov.put(path(gov, "retry", "0" * 64), body), 400001)


def test_policies_belong_to_a_project(gov: ServiceCenter) -> None:
    policy_id = create(gov)
    other = ServiceCenter(gov.url, gov.kind, unique("project"))

    assert listed(other, "retry") == []
    assert_refused(other.get(path(other, "retry", policy_id)), 404001)


@pytest.mark.parametrize(
    ("method", "kind_only", "allowed"),
    [("PUT", True, {"GET", "POST"}), ("DELETE", True, {"GET", "POST"}), ("POST", False, {"GET", "PUT", "DELETE"})],
)
def test_policies_have_their_methods(sc: ServiceCenter, method: str, kind_only: bool, allowed: set[str]) -> None:
    answer: Answer = sc.ask(method, "/v1/default/gov/retry" + ("" if kind_only else "/x"))

    assert answer.status == 405
    assert set((answer.header("Allow") or "").split(", ")) == allowed
