"""Reading: applications, instances, VIPs, the gate, server pages (cases 90-107)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from conformance.eureka.client import COMPACT, JSON, XML, Eureka, hash_of, instances_of
from conformance.eureka.conftest import ClientOf, Expected, Refused, ServerWith, wait_until
from conformance.peers.patience import PATIENCE_S
from conformance.peers.processes import Running

COMPACT_KEYS = [
    *("instanceId", "app", "ipAddr", "vipAddress", "secureVipAddress", "dataCenterInfo", "hostName", "status"),
    *("lastUpdatedTimestamp", "actionType", "asgName", "port", "securePort"),
]


def test_090_the_hash_counts_statuses_in_alphabetical_order(eureka: Eureka, app: str) -> None:
    other = f"{app}-B"
    eureka.given(app, "i1", vipAddress=app)
    eureka.given(app, "i2", vipAddress=app)
    eureka.given(other, "i3", vipAddress=app, status="DOWN")
    eureka.given(other, "i4", vipAddress=app, status="STARTING")

    assert eureka.json(f"vips/{app}")["apps__hashcode"] == "DOWN_1_STARTING_1_UP_2_"
    registry = eureka.registry()
    assert registry["apps__hashcode"] == hash_of(registry)
    assert len(instances_of(registry, app)) == len(instances_of(registry, other)) == 2
    assert all(isinstance(application["instance"], list) for application in registry["application"])


def test_091_an_application_is_asked_for_in_any_case(eureka: Eureka, app: str) -> None:
    eureka.given(app)

    application = eureka.json(f"apps/{app.lower()}")

    assert list(application) == ["name", "instance"]
    assert application["name"] == app


def test_092_a_refusal_is_not_remembered(eureka: Eureka, app: str, refused: Refused) -> None:
    refused(eureka.get(f"apps/{app}", headers=JSON), 404)  # case 91: an unknown application

    eureka.given(app)

    assert eureka.get(f"apps/{app}", headers=JSON).status_code == 200


@pytest.mark.parametrize("accept", [JSON, XML], ids=["json", "xml"])
@pytest.mark.parametrize("path", ["apps/{app}/nope", "apps/NOPE-{app}/i1", "instances/nope-{app}"])
def test_093_unknown_instances(eureka: Eureka, app: str, path: str, accept: dict[str, str], refused: Refused) -> None:
    eureka.given(app)

    refused(eureka.get(path.format(app=app), headers=accept), 404)


def test_094_an_instance_is_found_by_its_id_alone(eureka: Eureka, app: str) -> None:
    unique_id = f"{app}-1"
    eureka.given(app, unique_id)

    assert eureka.get(f"instances/{unique_id}", headers=JSON).content == (
        eureka.get(f"apps/{app}/{unique_id}", headers=JSON).content
    )


def test_095_a_vip_lists_its_instances_only(eureka: Eureka, app: str) -> None:
    eureka.given(app, "i1", vipAddress=app.lower())
    eureka.given(app, "i2", vipAddress=f"{app.lower()}-other")
    eureka.given(f"{app}-B", "i3", vipAddress=app.lower())

    found = eureka.json(f"vips/{app.lower()}")

    assert (found["versions__delta"], found["apps__hashcode"]) == ("-1", "UP_2_")
    assert {a["name"]: [i["instanceId"] for i in a["instance"]] for a in found["application"]} == {
        app: ["i1"],
        f"{app}-B": ["i3"],
    }


@pytest.mark.parametrize("which", ["vips", "svips"])
def test_096_an_unknown_vip_is_an_empty_answer(eureka: Eureka, app: str, which: str) -> None:
    eureka.given(app, vipAddress=app.lower(), secureVipAddress=app.lower())

    for name in (f"{app}-NOPE", app):  # case matters
        found = eureka.json(f"{which}/{name}")
        assert found == {"versions__delta": "-1", "apps__hashcode": "", "application": []}


def test_097_vips_are_a_list(eureka: Eureka, app: str, expected: Expected) -> None:
    """The original drops what it remembers of "x,y", not of "x" and "y"; in its conformance profile that lasts 1 s."""
    x, y = f"{app}-x", f"{app}-y"
    eureka.given(app, vipAddress=f"{x},{y}")

    assert [_hash_of_vip(eureka, vip) for vip in (x, y, f"{x},{y}")] == ["UP_1_", "UP_1_", ""]
    eureka.cancel(app)
    within_s = expected(97, ours=0, real=PATIENCE_S)
    wait_until(lambda: _hash_of_vip(eureka, x) == _hash_of_vip(eureka, y) == "", within_s=within_s)


def test_097_vips_are_not_trimmed(eureka: Eureka, app: str) -> None:
    eureka.given(app, vipAddress=f"{app}p, {app}q")

    assert [_hash_of_vip(eureka, vip) for vip in (f"{app}p", f" {app}q", f"{app}q")] == ["UP_1_", "UP_1_", ""]


def test_098_secure_vips_stand_apart(eureka: Eureka, app: str) -> None:
    eureka.given(app, secureVipAddress=f"{app}-s")

    assert eureka.json(f"svips/{app}-s")["apps__hashcode"] == "UP_1_"
    assert eureka.json(f"vips/{app}-s")["application"] == []


@pytest.mark.parametrize("status", ["OUT_OF_SERVICE", "UNKNOWN"])
def test_099_xml_tells_the_true_status(eureka: Eureka, app: str, status: str, expected: Expected) -> None:
    eureka.given(app, status=status)

    assert eureka.xml(f"apps/{app}/i1").findtext("status") == expected(99, ours=status, real="DOWN")
    assert eureka.xml(f"apps/{app}").findtext("instance/status") == status


def test_100_the_shape_of_xml(eureka: Eureka, app: str) -> None:
    eureka.given(app)

    (application,) = (a for a in eureka.xml("apps").iter("application") if a.findtext("name") == app)
    (instance,) = application.iter("instance")

    attributes = {child.tag: child.attrib for child in instance if child.attrib}
    assert attributes == {
        "port": {"enabled": "true"},
        "securePort": {"enabled": "false"},
        "dataCenterInfo": {"class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"},
        "metadata": {"class": "java.util.Collections$EmptyMap"},
    }
    assert instance.findtext("overriddenstatus") == "UNKNOWN"
    assert b"<!DOCTYPE" not in eureka.get("apps", headers=XML).content


def test_101_the_shape_of_compact_json(eureka: Eureka, app: str) -> None:
    eureka.given(app, secureVipAddress="s1", asgName="asg", metadata={"zone": "z"})

    for path in ("apps", "apps/delta"):
        (instance,) = instances_of(eureka.json(path, COMPACT), app)
        assert list(instance) == COMPACT_KEYS
        assert type(instance["lastUpdatedTimestamp"]) is int


def test_102_lapsed_but_not_yet_evicted(server_with: ServerWith, client_of: ClientOf, app: str) -> None:
    eureka = client_of(server_with(eviction_interval_s=3600))
    eureka.given(app, leaseInfo={"durationInSecs": 1})

    wait_until(lambda: eureka.get(f"apps/{app}/i1").status_code == 404)

    assert len(eureka.listed(app)) == 1
    assert eureka.renew(app).status_code == 200
    assert eureka.get(f"apps/{app}/i1").status_code == 200


def test_103_the_gate_closes_listings_and_nothing_else(
    server_with: ServerWith, client_of: ClientOf, app: str, refused: Refused
) -> None:
    eureka = client_of(server_with(eureka_read_gate_s=600))

    assert eureka.register(app).status_code == 204
    assert eureka.renew(app).status_code == 200
    for closed in ("apps", "apps/delta", f"apps/{app}", "vips/v1", "svips/s1"):
        refused(eureka.get(closed, headers=JSON), 403)
    for open_to_all in (f"apps/{app}/i1", "instances/i1"):
        assert eureka.get(open_to_all, headers=JSON).status_code == 200
    assert eureka.get("status", headers=XML).status_code == 200


def test_104_the_delta_can_be_switched_off(
    server_with: ServerWith, client_of: ClientOf, expected: Expected, refused: Refused
) -> None:
    eureka = client_of(server_with(eureka_disable_delta=True))

    refused(eureka.get("apps/delta", headers=JSON), 403)
    assert eureka.get("apps", headers=JSON).status_code == 200
    assert eureka.get("apps/ALL_APPS_DELTA", headers=JSON).status_code == expected(86, ours=404, real=200)


def test_105_the_servers_own_status(eureka: Eureka, expected: Expected) -> None:
    answer = eureka.get("status", headers=JSON)

    assert answer.status_code == expected(105, ours=200, real=500)
    if answer.status_code == 200:
        _assert_is_status(answer.json())


def test_105_the_servers_own_status_when_it_knows_its_health(
    eureka_kind: str, start_real: Callable[[str], Running], client_of: ClientOf
) -> None:
    if eureka_kind == "ours":
        pytest.skip("our server always knows its health: the case before this one asks it")

    _assert_is_status(client_of(start_real("conformance,health-known")).get("status", headers=JSON).json())


def test_106_the_map_of_overrides(eureka: Eureka, app: str, expected: Expected) -> None:
    """Netflix's own server has it, Spring's hides it; clients do not ask."""
    unique_id = f"{app}-1"
    eureka.given(app, unique_id)
    eureka.override(app, unique_id, "?value=OUT_OF_SERVICE")

    answer = eureka.get("/eureka/serverinfo/statusoverrides", headers=JSON)

    assert answer.status_code in expected(106, ours=(200, 404), real=(404,))
    if answer.status_code == 200:
        assert answer.json()[unique_id] == "OUT_OF_SERVICE"


@pytest.mark.parametrize("query", ["?value=ENABLED", "?value=foo", ""])
def test_107_no_scaling_groups_outside_amazon(eureka: Eureka, query: str) -> None:
    assert eureka.put(f"asg/x/status{query}").status_code == 400


def _hash_of_vip(eureka: Eureka, vip: str) -> str:
    return str(eureka.json(f"vips/{quote(vip)}")["apps__hashcode"])


def _assert_is_status(status: dict[str, Any]) -> None:
    assert {"generalStats", "applicationStats", "instanceInfo", "healthy"} <= status.keys()
    assert type(status["healthy"]) is bool
    assert "environment" not in status["generalStats"]
