"""Registration as XML (cases 78-80)."""

from __future__ import annotations

import pytest

from conformance.eureka.client import Eureka, registration_xml
from conformance.eureka.conftest import Expected

AS_XML = {"Content-Type": "application/xml"}
DOCTYPE = '<!DOCTYPE instance [<!ENTITY x "y">]>'


def test_078_statuses_are_read_in_any_case(eureka: Eureka, app: str) -> None:
    answer = eureka.post(app, registration_xml(app, status="up"), AS_XML)

    assert answer.status_code == 204
    assert eureka.instance(app)["status"] == "UP"


def test_079_unknown_elements_are_ignored(eureka: Eureka, app: str) -> None:
    stranger = "<stranger><status>DOWN</status><deeper a='1'>text<app>X</app></deeper></stranger>"

    answer = eureka.post(app, registration_xml(app, more=stranger), AS_XML)

    assert answer.status_code == 204
    assert eureka.instance(app)["status"] == "UP"


@pytest.mark.parametrize(
    ("body", "real"),
    [
        pytest.param("<x/>", 400, id="unknown-root"),
        pytest.param("<application/>", 500, id="application"),
        pytest.param("<map/>", 500, id="map"),
        pytest.param(DOCTYPE + registration_xml("{app}"), 400, id="doctype"),
        pytest.param(registration_xml("{app}", port=""), 400, id="port-empty"),
        pytest.param("<instance><app>", 400, id="cut-off"),
    ],
)
def test_079_what_is_no_registration(eureka: Eureka, app: str, body: str, real: int, expected: Expected) -> None:
    answer = eureka.post(app, body.replace("{app}", app), AS_XML)

    assert answer.status_code == (400 if real == 400 else expected(79, ours=400, real=real))
    assert eureka.listed(app) == []


def test_080_xml_and_json_say_the_same(eureka: Eureka, app: str) -> None:
    metadata = "<metadata><zone>z1</zone><my__key>ü &amp; é</my__key></metadata>"
    eureka.post(app, registration_xml(app, "written-as-xml", more=metadata), AS_XML)
    eureka.given(app, "written-as-json", metadata={"zone": "z1", "my_key": "ü & é"})

    as_xml, as_json = (eureka.instance(app, i) for i in ("written-as-xml", "written-as-json"))

    for varying in ("instanceId", "leaseInfo", "lastUpdatedTimestamp"):
        del as_xml[varying], as_json[varying]
    assert as_xml == as_json


@pytest.mark.parametrize("written_as", ["xml", "json"])
def test_080_either_form_is_read_as_xml(eureka: Eureka, app: str, written_as: str) -> None:
    if written_as == "xml":
        eureka.post(app, registration_xml(app), AS_XML)
    else:
        eureka.given(app)

    instance = eureka.xml(f"apps/{app}/i1")

    texts = {child.tag: child.text for child in instance if not len(child)}
    stated = {"instanceId": "i1", "hostName": "h1", "app": app, "ipAddr": "10.0.0.1", "status": "UP", "port": "8080"}
    assert stated.items() <= texts.items()
    assert texts["lastDirtyTimestamp"] == "1000"
