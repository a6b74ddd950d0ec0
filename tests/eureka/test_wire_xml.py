"""Eureka's XML: names and text escaped as the original does, values never cast, nothing hostile read."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from facade.errors import MalformedDocument
from facade.eureka import wire_json, wire_xml
from facade.eureka.records import DataCenterInfo, InstanceInfo, LeaseInfo, Port
from facade.registry.model import Status
from tests.eureka.registrations import AMAZON_CLASS, DEFAULT_CLASS, PLAIN
from tests.eureka.test_wire_json import FULL, infos

WRITTEN = f"""    <instance>
      <instanceId>cart-7f9c:cart:8080</instanceId>
      <hostName>cart-7f9c.example.test</hostName>
      <app>CART</app>
      <ipAddr>10.1.4.17</ipAddr>
      <sid>s1</sid>
      <status>OUT_OF_SERVICE</status>
      <overriddenstatus>OUT_OF_SERVICE</overriddenstatus>
      <port enabled="true">8080</port>
      <securePort enabled="false">443</securePort>
      <countryId>1</countryId>
      <dataCenterInfo class="{AMAZON_CLASS}">
        <name>Amazon</name>
        <metadata>
          <instance-id>i-0abc</instance-id>
          <availability-zone>eu-west-1a</availability-zone>
          <mac>m</mac>
        </metadata>
      </dataCenterInfo>
      <leaseInfo>
        <renewalIntervalInSecs>30</renewalIntervalInSecs>
        <durationInSecs>90</durationInSecs>
        <registrationTimestamp>11</registrationTimestamp>
        <lastRenewalTimestamp>12</lastRenewalTimestamp>
        <evictionTimestamp>13</evictionTimestamp>
        <serviceUpTimestamp>14</serviceUpTimestamp>
      </leaseInfo>
      <metadata>
        <zone>rack-2</zone>
        <ключ>snow ❄ 😀</ключ>
      </metadata>
      <appGroupName>GRP</appGroupName>
      <homePageUrl>http://h/</homePageUrl>
      <statusPageUrl>http://s/</statusPageUrl>
      <healthCheckUrl>http://c/</healthCheckUrl>
      <secureHealthCheckUrl>https://c/</secureHealthCheckUrl>
      <vipAddress>cart</vipAddress>
      <secureVipAddress>cart</secureVipAddress>
      <isCoordinatingDiscoveryServer>false</isCoordinatingDiscoveryServer>
      <lastUpdatedTimestamp>1750000000201</lastUpdatedTimestamp>
      <lastDirtyTimestamp>1750000000123</lastDirtyTimestamp>
      <actionType>MODIFIED</actionType>
      <asgName>g</asgName>
    </instance>
"""

COMPACT = (
    "<instance><instanceId>cart-7f9c:cart:8080</instanceId><app>CART</app><ipAddr>10.1.4.17</ipAddr>"
    "<vipAddress>cart</vipAddress><secureVipAddress>cart</secureVipAddress>"
    f'<dataCenterInfo class="{AMAZON_CLASS}"><name>Amazon</name><metadata><instance-id>i-0abc</instance-id>'
    "<availability-zone>eu-west-1a</availability-zone></metadata></dataCenterInfo>"
    "<hostName>cart-7f9c.example.test</hostName><status>OUT_OF_SERVICE</status>"
    "<lastUpdatedTimestamp>1750000000201</lastUpdatedTimestamp><actionType>MODIFIED</actionType><asgName>g</asgName>"
    '<port enabled="true">8080</port><securePort enabled="false">443</securePort></instance>'
)


def xml(more: str = "", *, status: str = "UP", port: str = '<port enabled="true">8080</port>') -> bytes:
    """`registrations.document()` as fargo writes it."""
    return (
        f"<instance><instanceId>i1</instanceId><hostName>h1</hostName><app>a</app><ipAddr>10.0.0.1</ipAddr>"
        f"<status>{status}</status>{port}<vipAddress>v1</vipAddress>"
        f'<dataCenterInfo class="{DEFAULT_CLASS}"><name>MyOwn</name><metadata></metadata></dataCenterInfo>'
        f"<lastDirtyTimestamp>1000</lastDirtyTimestamp>{more}</instance>"
    ).encode()


def test_an_instance_is_written_with_the_indentation_of_a_registry() -> None:
    assert wire_xml.encode_instance(FULL).decode() == WRITTEN


def test_the_compact_form_is_one_line() -> None:
    assert wire_xml.encode_compact_instance(FULL).decode() == COMPACT


def test_an_empty_map_is_marked() -> None:
    assert b'<metadata class="java.util.Collections$EmptyMap"/>' in wire_xml.encode_instance(PLAIN)


ELEMENTS = [
    pytest.param(xml(), {}, id="fargo"),
    pytest.param(b'<?xml version="1.0" encoding="UTF-8"?>\n' + xml(), {}, id="declaration"),
    pytest.param(xml(status="up"), {}, id="status-any-case"),
    pytest.param(xml(status="odd"), {"status": Status.UNKNOWN}, id="status-unknown"),
    pytest.param(xml("<overriddenStatus>down</overriddenStatus>"), {"overridden_status": Status.DOWN}, id="override"),
    pytest.param(xml(port="<port>8080</port>"), {}, id="port-without-attribute"),
    pytest.param(xml(port='<port enabled="false">8080</port>'), {"port": Port(8080, False)}, id="port-disabled"),
    pytest.param(
        xml('<securePort enabled="true">8443</securePort>'), {"secure_port": Port(8443, True)}, id="secure-port"
    ),
    pytest.param(xml("<securePort>8443</securePort>"), {"secure_port": Port(8443, False)}, id="secure-port-bare"),
    pytest.param(xml(port='<port enabled="true">+8080</port>'), {}, id="port-with-sign"),
    pytest.param(xml("<secureVipAddress></secureVipAddress>"), {"secure_vip_address": ""}, id="empty-text"),
    pytest.param(xml("<secureVipAddress/>"), {"secure_vip_address": ""}, id="no-text"),
    pytest.param(xml("<foo><bar/><bar><baz>1</baz></bar></foo>"), {}, id="unknown-elements"),
    pytest.param(
        xml("<leaseInfo><durationInSecs>45</durationInSecs><x>y</x></leaseInfo>"),
        {"lease_info": LeaseInfo(duration_s=45)},
        id="lease",
    ),
    pytest.param(
        xml(
            "<metadata><version>1.10</version><n>007</n><t>true</t><blank> </blank><nested><x>1</x></nested></metadata>"
        ),
        {"metadata": {"version": "1.10", "n": "007", "t": "true", "blank": " ", "nested": ""}},
        id="metadata-stays-text",
    ),
    pytest.param(
        xml("<metadata><a_.0020b>1</a_.0020b><my__key>2</my__key><_-k>3</_-k></metadata>"),
        {"metadata": {"a b": "1", "my_key": "2", "$k": "3"}},
        id="metadata-names",
    ),
    pytest.param(xml("<appGroupName>grp</appGroupName>"), {"app_group_name": "grp"}, id="group-keeps-its-case"),
    pytest.param(xml("<sid>na</sid>"), {}, id="sid"),
]


@pytest.mark.parametrize(("text", "expected"), ELEMENTS)
def test_what_clients_write(text: bytes, expected: dict[str, object]) -> None:
    assert wire_xml.decode_registration(text) == replace(PLAIN, **expected)


REFUSED = [
    pytest.param(b"", id="empty"),
    pytest.param(b"<x/>", id="other-root"),
    pytest.param(b"<applications/>", id="root-known-to-the-original"),
    pytest.param(xml()[:-4], id="truncated"),
    pytest.param(b"<instance/>", id="no-app"),
    pytest.param(b"<!DOCTYPE instance>" + xml(), id="doctype"),
    pytest.param(
        b'<!DOCTYPE i [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><instance><app>&b;</app></instance>', id="entities"
    ),
    pytest.param(xml("<a>" * 50 + "</a>" * 50), id="deep"),
    pytest.param(xml("<a/>" * 5_000), id="many"),
    pytest.param(xml(port='<port enabled="true"></port>'), id="port-empty"),
    pytest.param(xml(port="<port> 8080 </port>"), id="port-between-blanks"),
    pytest.param(xml(port="<port>8_080</port>"), id="port-with-underscore"),
    pytest.param(xml(port="<port>99999999999</port>"), id="port-beyond-32-bits"),
    pytest.param(xml("<dataCenterInfo><name>Azure</name></dataCenterInfo>"), id="data-center"),
    pytest.param(b'<?xml version="1.0" encoding="no-such"?>' + xml(), id="encoding"),
    pytest.param(xml("<app>\x01</app>"), id="control-character"),
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedDocument):
        wire_xml.decode_registration(text)


NAMES = [
    ("my_key", "my__key"),
    ("a b", "a_.0020b"),
    ("1x", "_.0031x"),
    ("$k", "_-k"),
    ("ns:k", "ns_.003ak"),
    ("-a", "_.002da"),
    ("ümlaut", "ümlaut"),
    ("a.b-c9", "a.b-c9"),
    ("k😀", "k_.d83d_.de00"),
]


@pytest.mark.parametrize(("key", "name"), NAMES)
def test_metadata_keys_become_names_as_the_original_writes_them(key: str, name: str) -> None:
    """Prometheus users see these names in their rules."""
    assert wire_xml.escape_name(key) == name
    ElementTree.fromstring(f"<{name}/>")


def test_what_no_xml_document_may_hold_is_dropped() -> None:
    """The original writes it all the same, and strict parsers then read nothing at all."""
    info = replace(PLAIN, metadata={"": "no name", "a": "x\x01y\ufffe", "b": "<&>\"'\r\t\n"})

    metadata = ElementTree.fromstring(wire_xml.encode_instance(info)).find("metadata")

    assert metadata is not None
    assert {child.tag: child.text for child in metadata} == {"a": "xy", "b": "<&>\"'\r\t\n"}


keys = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)


@given(
    st.dictionaries(
        keys, st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"))
    )
)
def test_metadata_survives_the_way_there_and_back(metadata: dict[str, str]) -> None:
    written = wire_xml.encode_instance(replace(PLAIN, metadata=metadata))

    assert wire_xml.decode_registration(written).metadata == metadata


@given(infos)
def test_whatever_was_registered_the_document_stays_readable(info: InstanceInfo) -> None:
    ElementTree.fromstring(wire_xml.encode_instance(info))
    ElementTree.fromstring(wire_xml.encode_compact_instance(info))


def test_both_formats_read_the_same() -> None:
    as_json = wire_json.decode_registration(b'{"instance":%b}' % wire_json.encode_instance(FULL))

    assert wire_xml.decode_registration(wire_xml.encode_instance(FULL)) == as_json
    assert as_json.data_center_info == DataCenterInfo(
        "Amazon", {"instance-id": "i-0abc", "availability-zone": "eu-west-1a", "mac": "m"}
    )
