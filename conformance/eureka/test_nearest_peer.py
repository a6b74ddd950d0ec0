"""What the nearest peer gets wrong, as cases of ours: Polaris' Eureka server, whose twelve defects mapping.md names.

| | The defect | Held by |
|---|---|---|
| P1 | new metadata takes ports, VIPs and URLs away | below, and case 139 |
| P2 | values of XML metadata are cast to numbers | below |
| P3 | a renewal's timestamp and override are ignored | cases 113, 115, 116, 117 |
| P4 | `@enabled` is a boolean at times | below |
| P5 | single documents are JSON for one spelling of Accept only | below, and case 011 |
| P6 | what is answered with 400 is registered all the same | below |
| P7 | STARTING and UNKNOWN are shown as OUT_OF_SERVICE, overrides as UNKNOWN; lifting one forces UP | below, and cases 122, 124 |
| P8 | fields are lost: Amazon's metadata, sid, URLs, group, timestamps, `internal-` keys | below |
| P9 | the switch for self-preservation is read and not obeyed | cases 148, 153 |
| P10 | an id is global, so two applications cannot share one | case 084 |
| P11 | a slow or dead peer blocks the server | tests/eureka/test_peers.py, and case 185 |
| P12 | what was written is not read for ten seconds | below |

Source: polarismesh/polaris, apiserver/eurekaserver, by way of mapping.md section 9.
"""  # noqa: E501  a table cannot be broken

from __future__ import annotations

import json
from typing import Any

import pytest

from conformance.eureka.client import JSON, Document, Eureka, amazon, instance_path, registration, registration_xml
from conformance.eureka.conftest import Refused

AS_XML = {"Content-Type": "application/xml"}
SERVERS_OWN = ("metadata", "lastUpdatedTimestamp", "leaseInfo", "actionType")

WHOLE: Document = {
    "sid": "sid-1",
    "status": "STARTING",
    "port": {"$": 8080, "@enabled": "false"},
    "securePort": {"$": 8443, "@enabled": "true"},
    "countryId": 1,
    "dataCenterInfo": amazon(
        metadata={"instance-id": "i-1", "ami-id": "ami-1", "availability-zone": "us-east-1c", "own-key": "kept"}
    ),
    "metadata": {"internal-eureka-vip": "of a user", "internal-anything": "too", "version": "1.10"},
    "appGroupName": "GROUP",
    "homePageUrl": "http://h1:8080/",
    "statusPageUrl": "http://h1:8080/actuator/info",
    "healthCheckUrl": "http://h1:8080/actuator/health",
    "secureHealthCheckUrl": "https://h1:8443/actuator/health",
    "vipAddress": "v1,v2",
    "secureVipAddress": "s1",
    "lastDirtyTimestamp": "1234567890123",
    "asgName": "asg-1",
}
"""Every field that an owner states, each with a value that no server would put there by itself."""


def test_p1_new_metadata_leaves_everything_else_as_it_was(eureka: Eureka, app: str) -> None:
    eureka.given(app, **WHOLE)
    before = eureka.instance(app)

    assert eureka.put_metadata(app, "i1", "?version=2").status_code == 200

    after = eureka.instance(app)
    assert after["metadata"] == before["metadata"] | {"version": "2"}
    assert {key: after[key] for key in after if key not in SERVERS_OWN} == {
        key: before[key] for key in before if key not in SERVERS_OWN
    }


@pytest.mark.parametrize("value", ["1.10", "007", "1e3", "12345678901234567890", "true", "NaN", "0x10", "1.0", "+1"])
@pytest.mark.parametrize("written_as", ["xml", "json"])
def test_p2_metadata_is_text_whatever_it_looks_like(eureka: Eureka, app: str, value: str, written_as: str) -> None:
    if written_as == "xml":
        metadata = f"<metadata><version>{value}</version></metadata>"
        assert eureka.post(app, registration_xml(app, more=metadata), AS_XML).status_code == 204
    else:
        eureka.given(app, metadata={"version": value})

    assert eureka.instance(app)["metadata"] == {"version": value}
    assert eureka.xml(instance_path(app, "i1")).findtext("metadata/version") == value


@pytest.mark.parametrize("metadata", [{}, {"internal-eureka-port": "true", "internal-enable-port": "true"}])
@pytest.mark.parametrize("enabled", ["true", "false", True, False])
def test_p4_whether_a_port_is_enabled_is_always_a_text(
    eureka: Eureka, app: str, metadata: dict[str, str], enabled: Any
) -> None:
    """Go clients fail on a boolean."""
    eureka.given(app, port={"$": 80, "@enabled": enabled}, metadata=metadata)

    ports = [found["port"] for found in (*eureka.listed(app), *eureka.changed(app), eureka.instance(app))]
    assert ports == [{"$": 80, "@enabled": str(enabled).lower()}] * 3


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "application/json, application/*+json",  # Spring's RestTemplate
        "application/json;charset=UTF-8",
        "application/json, */*;q=0.1",
        "application/json;q=0.9",
    ],
)
def test_p5_single_documents_are_json_for_who_asks_for_it(eureka: Eureka, app: str, accept: str) -> None:
    eureka.given(app)

    for path, root in ((f"apps/{app}", "application"), (f"apps/{app}/i1", "instance"), ("instances/i1", "instance")):
        answer = eureka.get(path, headers={"Accept": accept})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("application/json")
        assert list(json.loads(answer.content)) == [root]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"hostName": None}, id="no host"),
        pytest.param({"ipAddr": ""}, id="no address"),
        pytest.param({"app": "SOMEBODY-ELSE"}, id="another application"),
        pytest.param({"dataCenterInfo": None}, id="no data center"),
        pytest.param({"port": {"$": 8080, "@enabled": "true", "odd": 1}}, id="odd port"),
    ],
)
def test_p6_what_is_refused_is_not_registered(eureka: Eureka, app: str, changes: Document, refused: Refused) -> None:
    answer = eureka.post(app, {"instance": registration(app, "i1") | changes})

    assert answer.status_code == 400
    refused(eureka.get(f"apps/{app}/i1"), 404)
    refused(eureka.renew(app), 404)
    assert eureka.listed(app) == eureka.changed(app) == eureka.listed("SOMEBODY-ELSE") == []


@pytest.mark.parametrize("status", ["STARTING", "UNKNOWN", "DOWN", "OUT_OF_SERVICE", "UP"])
def test_p7_each_status_is_shown_as_itself(eureka: Eureka, app: str, status: str) -> None:
    eureka.given(app, status=status)

    found = [*eureka.listed(app), *eureka.changed(app), eureka.instance(app)]
    assert [(one["status"], one["overriddenStatus"]) for one in found] == [(status, "UNKNOWN")] * 3


@pytest.mark.parametrize(
    ("query", "status"), [("?value=DOWN", "DOWN"), ("?value=STARTING", "STARTING"), ("", "UNKNOWN")]
)
def test_p7_lifting_an_override_forces_nothing(eureka: Eureka, app: str, query: str, status: str) -> None:
    one = f"{app}-1"  # overrides of the original belong to an id
    eureka.given(app, one)
    assert eureka.override(app, one, "?value=OUT_OF_SERVICE").status_code == 200
    assert eureka.instance(app, one)["overriddenStatus"] == "OUT_OF_SERVICE"

    assert eureka.lift_override(app, one, query).status_code == 200

    assert eureka.instance(app, one)["status"] == status


def test_p8_every_field_that_an_owner_states_is_read_back(eureka: Eureka, app: str) -> None:
    eureka.given(app, **WHOLE)

    for found in (*eureka.listed(app), *eureka.changed(app), eureka.instance(app)):
        assert {key: found.get(key) for key in WHOLE} == WHOLE
        assert found["leaseInfo"]["registrationTimestamp"] > 0
        assert list(found["dataCenterInfo"]) == ["@class", "name", "metadata"]


def test_p12_what_was_written_is_in_the_next_read(eureka: Eureka, app: str) -> None:
    """Of the real server with its cache for reads switched off; else it takes up to 30 s."""
    paths = ("apps", "apps/delta", f"apps/{app}", f"vips/{app}")

    def statuses() -> list[str]:
        found = []
        for path in paths:
            answer = eureka.get(path, headers=JSON)
            if answer.status_code == 200:
                (root,) = answer.json().values()
                found += [
                    one["status"]
                    for application in root.get("application", [root])
                    for one in application["instance"]
                    if application["name"] == app and one["actionType"] != "DELETED"
                ]
        return found

    assert statuses() == []
    eureka.given(app, vipAddress=app)
    assert statuses() == ["UP"] * len(paths)
    eureka.override(app, "i1", "?value=DOWN")
    assert statuses() == ["DOWN"] * len(paths)
    eureka.cancel(app)
    assert statuses() == []
